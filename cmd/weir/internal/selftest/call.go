package selftest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds everything a worker waits for.
const patience = 10 * time.Second

// call makes connections until the time is over and waits for their ends.
func (t *task) call(r *recorder) error {
	var callers sync.WaitGroup
	var made atomic.Int64
	end := time.Now().Add(t.For)
	began := time.Now()
	for slot := range max(t.Parallel, 1) {
		callers.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				if t.Rate > 0 {
					// One clock for all callers, so that the rate is the sum's.
					at := began.Add(time.Duration(float64(made.Add(1)-1) / t.Rate * float64(time.Second)))
					if at.After(end) {
						return
					}
					time.Sleep(time.Until(at))
				}
				t.dispatch(r, slot, i)
				if t.Requests > 1 {
					return // that was the whole time
				}
			}
		})
	}
	callers.Wait()
	return nil
}

// dispatch makes the i-th connection of a caller, here or in a process of its own.
func (t *task) dispatch(r *recorder, slot, i int) {
	one := *t
	one.Targets = []netip.AddrPort{t.Targets[(slot+i)%len(t.Targets)]}
	one.FirstPort = t.port(slot, i)
	switch t.Own {
	case "":
		one.exchange(r)
	case "exec", "inherit":
		one.Do = "once"
		if err := one.inProcess(r); err != nil {
			x := r.begin(Client, t.Proto)
			x.Situation, x.Err = t.Situation, err.Error()
			r.add(&x)
		}
	}
}

// port is the local port of a caller's i-th connection, 0 for any.
func (t *task) port(slot, i int) int {
	if t.FirstPort == 0 {
		return 0
	}
	each := max(t.Ports, 1)
	return t.FirstPort + slot*each + i%each
}

// inProcess lets a child have the connection; a socket to inherit is connected
// here, by the parent.
func (t *task) inProcess(r *recorder) error {
	one := *t
	one.Log += ".once"
	one.Creator = r.base.User
	var extra []*os.File
	if t.Own == "inherit" {
		c, err := t.dial()
		if err != nil {
			return err
		}
		f, err := c.(*net.TCPConn).File()
		c.Close()
		if err != nil {
			return err
		}
		extra = append(extra, f)
	}
	cmd, err := again(&one)
	if err != nil {
		return err
	}
	cmd.ExtraFiles = extra
	err = cmd.Start()
	for _, f := range extra {
		f.Close() // the child is the last to hold it
	}
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// once is one connection in a process of its own.
func (t *task) once(r *recorder) error {
	if t.Own != "inherit" {
		t.exchange(r)
		return nil
	}
	c, err := tcpConn(3)
	if err != nil {
		return err
	}
	x := r.begin(Client, t.Proto)
	x.Creator = t.Creator
	t.talk(r, c, &x)
	return nil
}

// exchange makes one connection and records it.
func (t *task) exchange(r *recorder) {
	x := r.begin(Client, t.Proto)
	if t.Unconnected {
		t.sendTo(r, &x)
		return
	}
	c, err := t.dial()
	if err != nil {
		x.Situation, x.Remote, x.ID = t.Situation, t.Targets[0], rand.Uint64()
		if x.Refused = errors.Is(err, unix.ECONNREFUSED); x.Refused {
			x.Local = netip.AddrPortFrom(t.Source, uint16(t.FirstPort))
		} else {
			x.Err = err.Error()
		}
		r.add(&x)
		return
	}
	t.talk(r, c, &x)
}

func (t *task) dial() (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if t.FirstPort != 0 {
		// A client may have the port of its last connection again at once.
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}), err)
		}
		if t.Proto == "udp" {
			d.LocalAddr = &net.UDPAddr{Port: t.FirstPort}
		} else {
			d.LocalAddr = &net.TCPAddr{Port: t.FirstPort}
		}
	}
	return d.Dial(t.Proto, t.Targets[0].String())
}

// talk sends the requests of one connection, reads the replies, and records it.
func (t *task) talk(r *recorder, c net.Conn, x *Truth) {
	x.Situation, x.ID = t.Situation, rand.Uint64()
	x.Local, x.Remote = addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	n := max(t.Requests, 1)
	for i := range n {
		if i > 0 {
			time.Sleep(t.For * 9 / 10 / time.Duration(n))
		}
		_ = c.SetDeadline(time.Now().Add(patience + t.Hold))
		if err := t.request(c, x, *buf); err != nil {
			x.Err = err.Error()
			break
		}
	}
	c.Close()
	r.add(x)
}

// request sends one request, in two parts where it is to be held, and reads the reply.
func (t *task) request(c net.Conn, x *Truth, buf []byte) error {
	h := t.header(x.ID)
	h.put(buf)
	out := buf[:headerLen+int(h.Request)]
	if t.Hold > 0 {
		n, err := c.Write(out[:headerLen])
		x.Sent += int64(n)
		if err != nil {
			return err
		}
		out = out[headerLen:]
		time.Sleep(t.Hold)
	}
	n, err := c.Write(out)
	x.Sent += int64(n)
	if err != nil {
		return err
	}
	if t.Proto == "udp" {
		n, err = c.Read(buf)
		x.Received += int64(n)
		return err
	}
	n, err = io.ReadFull(c, buf[:h.Reply])
	x.Received += int64(n)
	if err == nil && t.CloseFirst {
		if n, err := c.Read(buf[:1]); n != 0 || err != io.EOF {
			return fmt.Errorf("no end after the reply: %d %w", n, err)
		}
	}
	return err
}

func (t *task) header(id uint64) header {
	h := header{ID: id, Request: uint32(t.Request + rand.IntN(t.Request+1)), Reply: uint32(t.Reply + rand.IntN(t.Reply+1))}
	if t.CloseFirst {
		h.CloseFirst = 1
	}
	return h
}

// sendTo is an exchange of datagrams on a socket without a peer.
func (t *task) sendTo(r *recorder, x *Truth) {
	x.Situation, x.ID, x.Remote = t.Situation, rand.Uint64(), t.Targets[0]
	err := func() error {
		pc, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		defer pc.Close()
		x.Local = netip.AddrPortFrom(t.Source, addrPort(pc.LocalAddr()).Port())
		_ = pc.SetDeadline(time.Now().Add(patience))
		buf := bodies.Get().(*[]byte)
		defer bodies.Put(buf)
		h := t.header(x.ID)
		h.put(*buf)
		n, err := pc.WriteToUDPAddrPort((*buf)[:headerLen+int(h.Request)], t.Targets[0])
		x.Sent += int64(n)
		if err == nil {
			n, _, err = pc.ReadFromUDPAddrPort(*buf)
			x.Received += int64(n)
		}
		return err
	}()
	if err != nil {
		x.Err = err.Error()
	}
	r.add(x)
}
