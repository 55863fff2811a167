package cases

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// fullServer has a name of its own: rows of processes are added up by name.
const fullServer = "full.test"

// noRoom adds up the connections that rows of a port say its server had no room for.
func noRoom(t *testing.T, r *rows, server string, port int) (n int64) {
	t.Helper()
	for _, x := range r.all(t, "flow_error", func(x row) bool { return x.tag("server_port") == fmt.Sprint(port) }) {
		if x.num("accept_queue_drops") == 0 {
			continue
		}
		n += x.num("accept_queue_drops")
		if x.tag("server_process") != server || x.tag("reporter") != "server" || x.tag("client_kind") != "unknown" || x.tag("attribution") != "exact" {
			t.Error(x)
		}
	}
	return n
}

// knowsReceiver says whether this kernel tells whom a dropped packet was for (6.11).
func knowsReceiver(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 11
}

// dial begins n connections from a port on, and returns what closes them.
func (b *pairBed) dial(t *testing.T, n, from, port int) (end func()) {
	t.Helper()
	var fds []int
	end = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		fds = nil
	}
	t.Cleanup(end)
	b.near.Do(t, func() error {
		for i := range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
			if err := unix.Bind(fd, &unix.SockaddrInet4{Port: from + i}); err != nil {
				return err
			}
			if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 210, 13, 2}, Port: port}); err != unix.EINPROGRESS {
				return fmt.Errorf("connect: %v", err)
			}
		}
		return nil
	})
	return end
}

// A listener that has no room drops connections, SYNs and last acknowledgements, and
// says whose it is and how many, as the kernel counts them.
func TestCaseF15_AcceptQueueFull(t *testing.T) {
	_, rows := own(t) // in which the port is not past the 64 that a server has by name
	b := newPair(t, 13)
	s := spawnWith(t, b.far, programNamed(t, fullServer), "steps", "listen-few", b.there+":0", "wait")
	port := s.number()
	rows.settle(t)
	// One whose last acknowledgement does not come before the queue is full, then more
	// than there is room for.
	b.drop(t, "far", "tcp sport 5100 tcp flags ack / syn,ack,rst")
	endLate := b.dial(t, 1, 5100, port)
	endOthers := b.dial(t, 6, 5101, port)
	probe.Until(t, patience, "SYNs that find no room", func() error {
		if n := b.counter(t, "ListenOverflows"); n < 4 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	before := b.counter(t, "TCPSynRetrans")
	b.far.Run(t, "nft", "delete table ip f")
	probe.Until(t, patience, "the SYN-ACK sent again", func() error {
		if b.counter(t, "TCPSynRetrans") == before {
			return errors.New("not yet")
		}
		return nil
	})
	probe.Until(t, patience, "drops of the listener", func() error {
		if noRoom(t, rows, fullServer, port) == 0 {
			return fmt.Errorf("the kernel counted %d", b.counter(t, "ListenDrops"))
		}
		return nil
	})
	// The queue is full as long as nobody accepts, and so say the process's rows.
	probe.Until(t, patience, "a full queue", func() error {
		for _, r := range rows.all(t, "process", func(r row) bool { return r.tag("process") == fullServer }) {
			if limit := r.num("listen_queue_limit"); limit > 0 && r.num("listen_queue") >= limit && r.num("tcp_listeners") == 1 {
				return nil
			}
		}
		return errors.New("none")
	})
	b.drop(t, "far", fmt.Sprint("tcp dport ", port)) // whoever tries again
	endLate()
	endOthers()
	if !knowsReceiver(t) {
		t.Log("this kernel does not tell what else the listener dropped: the number is at most that")
	} else {
		counted := b.counter(t, "ListenDrops")
		probe.Until(t, patience, "all of them", func() error {
			if n := noRoom(t, rows, fullServer, port); n < int64(counted) {
				return fmt.Errorf("%d of %d", n, counted)
			}
			return nil
		})
		rows.settle(t)
		// What the program that tells strays missed looks as if there was no room.
		n, missed := noRoom(t, rows, fullServer, port), missedDrops(t, rows)
		if n < int64(counted) || n > int64(counted)+missed || counted != b.counter(t, "ListenDrops") {
			t.Errorf("%d had no room (%d of them may be strays), the kernel counts %d", n, missed, b.counter(t, "ListenDrops"))
		}
	}
	s.say("on")
	s.ended()
}

// What else a listener drops is not for want of room: resets of half a handshake and of
// none, acknowledgements of nothing, repeated SYNs, flags that make no sense.
func TestCaseF15_Strays(t *testing.T) {
	if !knowsReceiver(t) {
		t.Skip("this kernel does not tell whom a dropped packet was for")
	}
	_, rows := own(t)
	b := newPair(t, 13)
	b.far.Run(t, "ip", "neigh", "add", "10.210.13.77", "lladdr", b.near.Link(t, "wf0").Attrs().HardwareAddr.String(), "dev", "wf1", "nud", "permanent")
	b.drop(t, "near", "ip daddr 10.210.13.77")
	s := spawn(t, b.far, "steps", "listen-few", b.there+":0", "wait")
	port := s.number()
	rows.settle(t)
	const n = 3
	here, nobody, there := [4]byte{10, 210, 13, 1}, [4]byte{10, 210, 13, 77}, [4]byte{10, 210, 13, 2}
	b.near.Do(t, func() (err error) {
		for i := range uint16(n) {
			err = errors.Join(err,
				netlab.SYN(here, 5000+i, there, uint16(port)), // its kernel does not know of it and resets
				netlab.SYN(nobody, 5000, there, uint16(port)), // the same one again
				netlab.Segment(nobody, 5100+i, there, uint16(port), netlab.ACK),
				netlab.Segment(nobody, 5200+i, there, uint16(port), netlab.RST),
				netlab.Segment(nobody, 5300+i, there, uint16(port), netlab.SYNFlag|netlab.FIN),
				netlab.Segment(nobody, 5400+i, there, uint16(port), 0))
		}
		return err
	})
	probe.Until(t, patience, "resets", func() error {
		if got := b.counter(t, "EmbryonicRsts"); got != n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
	rows.settle(t)
	if got, missed := noRoom(t, rows, "cases.test", port), missedDrops(t, rows); got > missed || b.counter(t, "ListenDrops") != 0 {
		t.Errorf("%d are told as without room (%d were missed), the kernel counts %d", got, missed, b.counter(t, "ListenDrops"))
	}
	// The strays hide nothing: what then finds no room is counted from there on.
	end := b.dial(t, 4, 5501, port)
	probe.Until(t, patience, "the next that find no room", func() error {
		if got := noRoom(t, rows, "cases.test", port); got < 2 {
			return fmt.Errorf("%d, the kernel counts %d", got, b.counter(t, "ListenDrops"))
		}
		return nil
	})
	end()
	s.say("on")
	s.ended()
}
