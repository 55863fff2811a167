package cases

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
)

// outcomeChildren are the children of section F.
var outcomeChildren = map[string]func(args []string) error{"steps": childSteps}

// stepper is one end of a TCP connection that does what it is told, step by step.
type stepper struct {
	ln   *net.TCPListener
	conn *net.TCPConn
	args []string
}

// childSteps does the steps named in args, each with its own arguments.
func childSteps(args []string) error {
	s := &stepper{args: args}
	for len(s.args) > 0 {
		step := s.next()
		do := steps[step]
		if do == nil {
			return fmt.Errorf("no step %q", step)
		}
		if err := do(s); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	return nil
}

func (s *stepper) next() string {
	a := s.args[0]
	s.args = s.args[1:]
	return a
}

func (s *stepper) number() int {
	n, err := strconv.Atoi(s.next())
	if err != nil {
		panic(err)
	}
	return n
}

// told prints the name of an error, "ok" without one.
func told(err error) {
	var no unix.Errno
	switch {
	case err == nil:
		fmt.Println("ok")
	case errors.As(err, &no):
		fmt.Println(unix.ErrnoName(no))
	default:
		fmt.Println(err)
	}
}

// steps are what a stepper can do. Those that may fail as part of a case print
// what came of it.
var steps = map[string]func(*stepper) error{
	"listen": func(s *stepper) error { // at an address; prints the port
		ln, err := net.Listen("tcp", s.next())
		if err != nil {
			return err
		}
		s.ln = ln.(*net.TCPListener)
		fmt.Println(ln.Addr().(*net.TCPAddr).Port)
		return nil
	},
	"unlisten": func(s *stepper) error { return s.ln.Close() },
	"fastopen": func(s *stepper) error { // of a listener
		return s.listener(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16) })
	},
	"accept": func(s *stepper) (err error) {
		s.conn, err = s.ln.AcceptTCP()
		return err
	},
	"listen-few": func(s *stepper) error { // at an address, with room for two; prints the port
		a := netip.MustParseAddrPort(s.next())
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4()}); err != nil {
			return err
		}
		if err := unix.Listen(fd, 1); err != nil {
			return err
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		fmt.Println(name.(*unix.SockaddrInet4).Port)
		return nil
	},
	"connect": func(s *stepper) error { // to an address; prints what came of it
		conn, err := net.Dial("tcp", s.next())
		if err == nil {
			s.conn = conn.(*net.TCPConn)
		}
		told(err)
		return nil
	},
	"connect-timed": func(s *stepper) error { // to an address; prints how long it took, µs
		began := time.Now()
		conn, err := net.Dial("tcp", s.next())
		if err != nil {
			return err
		}
		s.conn = conn.(*net.TCPConn)
		fmt.Println(time.Since(began).Microseconds())
		return nil
	},
	// To an address, in one system call; prints what came of it.
	"connect-blocking": func(s *stepper) error {
		return s.socket(func(fd int, to unix.Sockaddr) error { told(unix.Connect(fd, to)); return nil })
	},
	"connect-no-port": func(s *stepper) error { // to an address with one local port, which is taken
		return s.socket(func(fd int, to unix.Sockaddr) error {
			taken, err := net.Listen("tcp", ":0")
			if err != nil {
				return err
			}
			defer taken.Close()
			p := taken.Addr().(*net.TCPAddr).Port
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, p<<16|p); err != nil {
				return err
			}
			told(unix.Connect(fd, to))
			return nil
		})
	},
	"connect-and-close": func(s *stepper) error { // to an address, not waiting for the answer
		return s.socket(func(fd int, to unix.Sockaddr) error {
			if err := unix.SetNonblock(fd, true); err != nil {
				return err
			}
			told(unix.Connect(fd, to))
			return nil
		})
	},
	"send-with-syn": func(s *stepper) error { // octets, to an address; reads to the end
		n := s.number()
		return s.socket(func(fd int, to unix.Sockaddr) error {
			if err := unix.Sendto(fd, make([]byte, n), unix.MSG_FASTOPEN, to); err != nil {
				return err
			}
			if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
				return err
			}
			for b := make([]byte, 4096); ; {
				if n, err := unix.Read(fd, b); n <= 0 || err != nil {
					return err
				}
			}
		})
	},
	"write": func(s *stepper) error { // octets
		_, err := s.conn.Write(make([]byte, s.number()))
		return err
	},
	"read": func(s *stepper) error { // octets
		_, err := io.CopyN(io.Discard, s.conn, int64(s.number()))
		return err
	},
	"peek": func(s *stepper) error { // waits for octets and leaves them there
		b := make([]byte, s.number())
		return s.control(func(fd int) error {
			if err := unix.SetNonblock(fd, false); err != nil {
				return err
			}
			_, _, err := unix.Recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_WAITALL)
			return err
		})
	},
	"drain": func(s *stepper) error { // reads to the end; prints how it ended
		_, err := io.Copy(io.Discard, s.conn)
		told(err)
		return nil
	},
	"patience": func(s *stepper) error { // TCP_USER_TIMEOUT, ms
		n := s.number()
		return s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, n) })
	},
	"delay-acks": func(s *stepper) error { // as in an interactive session
		return s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) })
	},
	"acked": func(s *stepper) error { // waits until all that was written is acknowledged
		return s.control(func(fd int) error {
			for {
				n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
				if n == 0 || err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
		})
	},
	// Prints what the kernel says of the connection: smallest RTT and RTT in µs, segments
	// out of order, duplicates by DSACK.
	"info": func(s *stepper) error {
		return s.control(func(fd int) error {
			i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil {
				fmt.Println(i.Min_rtt, i.Rtt, i.Rcv_ooopack, i.Dsack_dups)
			}
			return err
		})
	},
	"linger": func(s *stepper) error { return s.conn.SetLinger(0) },
	"shut":   func(s *stepper) error { return s.conn.CloseWrite() },
	"close":  func(s *stepper) error { return s.conn.Close() },
	"say":    func(s *stepper) error { _, err := fmt.Println(s.next()); return err },
	"pause":  func(s *stepper) error { time.Sleep(time.Duration(s.number()) * time.Millisecond); return nil },
	"wait": func(*stepper) error { // for a word
		var word string
		_, err := fmt.Scanln(&word)
		return err
	},
}

func (s *stepper) control(f func(fd int) error) error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	return onFD(raw.Control, f)
}

func (s *stepper) listener(f func(fd int) error) error {
	raw, err := s.ln.SyscallConn()
	if err != nil {
		return err
	}
	return onFD(raw.Control, f)
}

func onFD(control func(func(uintptr)) error, f func(fd int) error) (err error) {
	if e := control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// socket lends a new TCP socket and the address that comes next.
func (s *stepper) socket(f func(fd int, to unix.Sockaddr) error) error {
	a, err := net.ResolveTCPAddr("tcp", s.next())
	if err != nil {
		return err
	}
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: a.Port, Addr: a.AddrPort().Addr().As16()})
	if v4 := a.IP.To4(); v4 != nil {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(v4)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return f(fd, to)
}

// pairBed is two namespaces with a wire between them: a client's and a server's.
type pairBed struct {
	near, far   *netlab.NS
	here, there string // their addresses
	made        int64  // unix ns
}

func newPair(t *testing.T, n int) *pairBed {
	t.Helper()
	b := &pairBed{near: netlab.New(t), far: netlab.New(t), here: fmt.Sprintf("10.210.%d.1", n), there: fmt.Sprintf("10.210.%d.2", n)}
	b.made = time.Now().UnixNano()
	netlab.Veth(t, netlab.End{NS: b.near, Name: "wf0", CIDR: b.here + "/24"}, netlab.End{NS: b.far, Name: "wf1", CIDR: b.there + "/24"})
	return b
}

// mine matches connections of b's client. An inode is another namespace's once its
// own is gone.
func (b *pairBed) mine(r row) bool {
	return r.num("client_netns") == int64(b.near.Inode) && r.num("start") >= b.made
}

// server starts the steps of a server behind the wire and returns its port.
func (b *pairBed) server(t *testing.T, doing string) (*process, int) {
	t.Helper()
	p := spawn(t, b.far, "steps", strings.Fields("listen "+b.there+":0 "+doing)...)
	return p, p.number()
}

// client starts the steps of a client; $ in them is the server's address.
func (b *pairBed) client(t *testing.T, port int, doing string) *process {
	t.Helper()
	doing = strings.ReplaceAll(doing, "$", fmt.Sprintf("%s:%d", b.there, port))
	return spawn(t, b.near, "steps", strings.Fields(doing)...)
}

// hears waits for lines of a child.
func (p *process) hears(lines ...string) {
	p.t.Helper()
	for _, want := range lines {
		if got := p.line(); got != want {
			p.t.Fatalf("child %v says %q, want %q", p.Args[1:], got, want)
		}
	}
}
