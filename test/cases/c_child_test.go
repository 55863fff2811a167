package cases

import (
	"bufio"
	be "encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tupleChildren are the children of sections C and G.
var tupleChildren = map[string]func(args []string) error{
	"answer": childAnswer,
	"asker":  childAsker,
	"mapped": childMapped,
	"churn":  childChurn,
}

// childAnswer answers at ADDRESS of NETWORK ("tcp", "udp6", …) each request with
// REPLY octets, and prints its port. A request is its length in 4 octets and
// the rest of it; over TCP the asker closes.
func childAnswer(args []string) error {
	network, address, reply := args[0], args[1], make([]byte, atoi(args[2]))
	if strings.HasPrefix(network, "udp") {
		return answerDatagrams(network, address, reply)
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for {
				var head [4]byte
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return
				}
				if _, err := io.CopyN(io.Discard, c, int64(be.BigEndian.Uint32(head[:]))-4); err != nil {
					return
				}
				if _, err := c.Write(reply); err != nil {
					return
				}
			}
		}()
	}
}

func answerDatagrams(network, address string, reply []byte) error {
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr().(*net.UDPAddr).Port)
	buf := make([]byte, 65536)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(reply, from); err != nil {
			return err
		}
	}
}

// childAsker does what the lines of its input say, with a socket of NETWORK bound
// to LOCAL (empty: any) and connected to REMOTE, which answers REPLY octets:
// "open", "send N", "close" (by reset, so that the port is free at once) and
// "loop COUNT N": COUNT times all three, with N, N+1, … octets. It prints the
// local port when a line is done.
func childAsker(args []string) error {
	a := asker{network: args[0], local: args[1], remote: args[2], reply: atoi(args[3])}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		var err error
		switch f[0] {
		case "open":
			err = a.open()
		case "send":
			err = a.send(atoi(f[1]))
		case "close":
			err = a.close()
		case "loop":
			for i := range atoi(f[1]) {
				err = errors.Join(err, a.open(), a.send(atoi(f[2])+i), a.close())
			}
		}
		if err != nil {
			return err
		}
		fmt.Println(a.port)
	}
	return nil
}

type asker struct {
	network, local, remote string
	reply, port            int
	c                      net.Conn
}

func (a *asker) open() (err error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }), err)
	}}
	udp := strings.HasPrefix(a.network, "udp")
	if a.local != "" && udp {
		d.LocalAddr, err = net.ResolveUDPAddr(a.network, a.local)
	} else if a.local != "" {
		d.LocalAddr, err = net.ResolveTCPAddr(a.network, a.local)
	}
	if err != nil {
		return err
	}
	if a.c, err = d.Dial(a.network, a.remote); err != nil {
		return err
	}
	if udp {
		a.port = a.c.LocalAddr().(*net.UDPAddr).Port
	} else {
		a.port = a.c.LocalAddr().(*net.TCPAddr).Port
	}
	return nil
}

// send sends n octets and reads the answer.
func (a *asker) send(n int) error {
	b := make([]byte, n)
	be.BigEndian.PutUint32(b, uint32(n))
	if _, err := a.c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(a.c, make([]byte, a.reply))
	return err
}

func (a *asker) close() error {
	if t, ok := a.c.(*net.TCPConn); ok {
		if err := t.SetLinger(0); err != nil {
			return err
		}
	}
	return a.c.Close()
}

func atoi(s string) (n int) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err)
	}
	return n
}

// childMapped opens a socket of exactly the family of NETWORK, which Go's own
// dialer does not for mapped addresses. With two arguments it listens and echoes,
// with a third one it sends that many octets and reads them back.
func childMapped(args []string) error {
	ap, err := netip.ParseAddrPort(args[1])
	if err != nil {
		return err
	}
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(ap.Port())}
	if strings.HasSuffix(args[0], "6") {
		family = unix.AF_INET6
		sa = &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
	} else {
		sa.(*unix.SockaddrInet4).Addr = ap.Addr().As4()
	}
	if strings.HasPrefix(args[0], "udp") {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return err
	}
	if len(args) == 2 {
		return echoMapped(fd, kind, sa)
	}
	n := atoi(args[2])
	if err := unix.Connect(fd, sa); err != nil {
		return err
	}
	if err := printPort(fd); err != nil {
		return err
	}
	if _, err := unix.Write(fd, make([]byte, n)); err != nil {
		return err
	}
	for got := 0; got < n; {
		m, err := unix.Read(fd, make([]byte, n))
		if err != nil || m == 0 {
			return fmt.Errorf("read the echo: %d octets, %w", m, err)
		}
		got += m
	}
	return unix.Close(fd)
}

func echoMapped(fd, kind int, sa unix.Sockaddr) error {
	if err := unix.Bind(fd, sa); err != nil {
		return err
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 8); err != nil {
			return err
		}
	}
	if err := printPort(fd); err != nil {
		return err
	}
	buf := make([]byte, 65536)
	if kind == unix.SOCK_DGRAM {
		for {
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return err
			}
			if err := unix.Sendto(fd, buf[:n], 0, from); err != nil {
				return err
			}
		}
	}
	for {
		c, _, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		for {
			n, err := unix.Read(c, buf)
			if err != nil || n == 0 {
				break
			}
			if _, err := unix.Write(c, buf[:n]); err != nil {
				break
			}
		}
		unix.Close(c)
	}
}

func printPort(fd int) error {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		fmt.Println(a.Port)
	case *unix.SockaddrInet6:
		fmt.Println(a.Port)
	}
	return nil
}

// childChurn makes COUNT sockets and closes them; every Nth is connected to
// REMOTE and sends some octets, by SEED: it prints its port and how many.
func childChurn(args []string) error {
	count, nth := atoi(args[1]), atoi(args[2])
	random := rand.New(rand.NewPCG(1, uint64(atoi(args[3]))))
	a := asker{network: "tcp", remote: args[0], reply: 1}
	for i := range count {
		if i%nth == 0 {
			n := 4 + random.IntN(20000)
			if err := errors.Join(a.open(), a.send(n), a.close()); err != nil {
				return err
			}
			fmt.Println(a.port, n)
			continue
		}
		fd, err := unix.Socket(unix.AF_INET, []int{unix.SOCK_STREAM, unix.SOCK_DGRAM}[i%2], 0)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}
