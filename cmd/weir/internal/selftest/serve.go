package selftest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"
)

// header begins every request.
type header struct {
	ID             uint64
	Request, Reply uint32 // octets that follow, and that are wanted back
	CloseFirst     uint32 // 1: the server closes after its reply
}

const (
	headerLen = 20
	maxBody   = 1 << 20
)

func (h *header) put(b []byte) {
	binary.BigEndian.PutUint64(b, h.ID)
	binary.BigEndian.PutUint32(b[8:], h.Request)
	binary.BigEndian.PutUint32(b[12:], h.Reply)
	binary.BigEndian.PutUint32(b[16:], h.CloseFirst)
}

func (h *header) get(b []byte) {
	h.ID = binary.BigEndian.Uint64(b)
	h.Request = min(binary.BigEndian.Uint32(b[8:]), maxBody)
	h.Reply = min(binary.BigEndian.Uint32(b[12:]), maxBody)
	h.CloseFirst = binary.BigEndian.Uint32(b[16:])
}

var bodies = sync.Pool{New: func() any { b := make([]byte, maxBody); return &b }}

// server answers requests.
type server struct {
	r         *recorder
	listeners []*net.TCPListener
	sockets   []*net.UDPConn
	heir      *heir
	conns     sync.WaitGroup
	loops     sync.WaitGroup
}

func (t *task) listen(r *recorder) (s *server, err error) {
	s = &server{r: r}
	if t.PassOn {
		if s.heir, err = newHeir(t); err != nil {
			return nil, err
		}
	}
	for _, a := range t.TCP {
		ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a))
		if err != nil {
			return nil, err
		}
		s.listeners = append(s.listeners, ln)
		s.loops.Go(func() { s.accept(ln) })
	}
	for _, a := range t.UDP {
		pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			return nil, err
		}
		s.sockets = append(s.sockets, pc)
		s.loops.Go(func() { s.datagrams(pc) })
	}
	return s, nil
}

func (s *server) accept(ln *net.TCPListener) {
	for {
		c, err := ln.AcceptTCP()
		if err != nil {
			return // closed
		}
		if s.heir != nil {
			s.heir.pass(c, s.r.base.User)
			continue
		}
		s.conns.Go(func() { s.serve(c, Process{}) })
	}
}

// serve answers one connection to its end.
func (s *server) serve(c *net.TCPConn, creator Process) {
	t := s.r.begin(Server, "tcp")
	t.Creator, t.Local, t.Remote = creator, addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	var head [headerLen]byte
	var h header
	for h.CloseFirst == 0 {
		n, err := io.ReadFull(c, head[:])
		t.Received += int64(n)
		if err != nil {
			break // the client's end, in most cases
		}
		h.get(head[:])
		t.ID = h.ID
		n, err = io.ReadFull(c, (*buf)[:h.Request])
		t.Received += int64(n)
		if err == nil {
			n, err = c.Write((*buf)[:h.Reply])
			t.Sent += int64(n)
		}
		if err != nil {
			t.Err = err.Error()
			break
		}
	}
	c.Close()
	s.r.add(&t)
}

// datagrams answers each datagram with one. A client's number makes the record.
func (s *server) datagrams(pc *net.UDPConn) {
	byID := map[uint64]*Truth{}
	defer func() {
		for _, t := range byID {
			s.r.add(t)
		}
	}()
	local := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := pc.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n < headerLen {
			continue
		}
		var h header
		h.get(buf)
		t := byID[h.ID]
		if t == nil {
			x := s.r.begin(Server, "udp")
			x.ID, x.Local, x.Remote = h.ID, unmap(local), unmap(from)
			t = &x
			byID[h.ID] = t
		}
		t.Received += int64(n)
		if n, err = pc.WriteToUDPAddrPort(buf[:min(h.Reply, 1<<15)], from); err != nil {
			t.Err = err.Error()
		}
		t.Sent += int64(n)
	}
}

func (s *server) close() error {
	var errs []error
	for _, ln := range s.listeners {
		errs = append(errs, ln.Close())
	}
	for _, pc := range s.sockets {
		errs = append(errs, pc.Close())
	}
	s.loops.Wait()
	s.conns.Wait()
	if s.heir != nil {
		errs = append(errs, s.heir.close())
	}
	return errors.Join(errs...)
}

// heir is the process that gets what another one accepted.
type heir struct {
	conn *net.UnixConn
	cmd  *exec.Cmd
}

func newHeir(t *task) (*heir, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "heir"), os.NewFile(uintptr(fds[1]), "testator")
	defer mine.Close()
	defer theirs.Close()
	c, err := net.FileConn(mine)
	if err != nil {
		return nil, err
	}
	cmd, err := again(&task{Do: "passed", Log: t.Log + ".passed", Container: t.Container})
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs}
	return &heir{c.(*net.UnixConn), cmd}, cmd.Start()
}

// again is this program as another worker.
func again(t *task) (*exec.Cmd, error) {
	arg, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, workerCommand, t.Do, t.Situation)
	cmd.Env = append(os.Environ(), taskVariable+"="+string(arg)) // the command line is part of every row
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// pass sends a connection with who accepted it, and forgets it.
func (h *heir) pass(c *net.TCPConn, creator Process) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	who, _ := json.Marshal(creator)
	_ = raw.Control(func(fd uintptr) {
		_, _, err = h.conn.WriteMsgUnix(who, unix.UnixRights(int(fd)), nil)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "pass a connection on:", err)
	}
}

func (h *heir) close() error { return errors.Join(h.conn.Close(), h.cmd.Wait()) }

// passed serves the connections that come on descriptor 3, to its end.
func (t *task) passed(r *recorder) error {
	f := os.NewFile(3, "testator")
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	f.Close()
	s := &server{r: r}
	defer s.conns.Wait()
	who, oob := make([]byte, 256), make([]byte, 64)
	for {
		n, m, _, _, err := c.(*net.UnixConn).ReadMsgUnix(who, oob)
		if err != nil || n == 0 {
			return nil // the testator is gone
		}
		var creator Process
		if err := json.Unmarshal(who[:n], &creator); err != nil {
			return err
		}
		conn, err := received(oob[:m])
		if err != nil {
			return err
		}
		s.conns.Go(func() { s.serve(conn, creator) })
	}
}

func received(oob []byte) (*net.TCPConn, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("no descriptor came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return nil, err
	}
	return tcpConn(fds[0])
}

func tcpConn(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return unmap(a.AddrPort())
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
