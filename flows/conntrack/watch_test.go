package conntrack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

const patience = 20 * time.Second

type sink struct{ nats []flows.NAT }

func (s *sink) NAT(n *flows.NAT) { s.nats = append(s.nats, *n) }

// run watches for the test.
func run(t *testing.T, ns *netlab.NS, w *Watcher) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	start := func() error { done <- w.Run(ctx); return nil }
	if ns != nil {
		ns.Start(start)
	} else {
		go start() //nolint:errcheck // it is in done
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

// insert makes n entries that translate source port from+i to 1000+from+i.
func insert(t *testing.T, ns *netlab.NS, from, n int) {
	t.Helper()
	ns.Do(t, func() error {
		for i := from; i < from+n; i++ {
			tuple := func(src, dst string, sport, dport int) netlink.IPTuple {
				return netlink.IPTuple{SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4(), SrcPort: uint16(sport), DstPort: uint16(dport), Protocol: unix.IPPROTO_UDP}
			}
			err := netlink.ConntrackCreate(netlink.ConntrackTable, nl.FAMILY_V4, &netlink.ConntrackFlow{
				FamilyType: nl.FAMILY_V4, TimeOut: 100,
				Forward: tuple("10.204.9.2", "192.0.2.9", i, 53), Reverse: tuple("192.0.2.9", "198.51.100.1", 53, 1000+i),
			})
			if err != nil {
				return fmt.Errorf("make conntrack entry %d: %w", i, err)
			}
		}
		return nil
	})
}

// await drains until the translations of ports [from, from+n) are there.
func await(t *testing.T, w *Watcher, s *sink, netns uint32, from, n int) {
	t.Helper()
	probe.Until(t, patience, "translations are told", func() error {
		w.Drain(s)
		have := map[uint16]bool{}
		for _, x := range s.nats {
			if x.Orig.NetNS == netns && x.Reply.NetNS == netns && x.Reply.DstPort == x.Orig.SrcPort+1000 && x.Orig.Src == flows.AddrFrom(netip.MustParseAddr("10.204.9.2")) {
				have[x.Orig.SrcPort] = true
			}
		}
		for i := from; i < from+n; i++ {
			if !have[uint16(i)] {
				return fmt.Errorf("port %d of %d is missing, have %d, first %+v: %+v", i, n, len(have), s.nats[:min(1, len(s.nats))], w.Stats())
			}
		}
		return nil
	})
}

// What was there before comes by the dump, what comes later by events.
func TestKernelWatch(t *testing.T) {
	ns := netlab.New(t)
	insert(t, ns, 2000, 50)
	w := New(Config{Host: true, HostNetNS: ns.Inode})
	run(t, ns, w)
	s := &sink{}
	await(t, w, s, ns.Inode, 2000, 50)
	insert(t, ns, 3000, 50)
	await(t, w, s, ns.Inode, 3000, 50)
	if st := w.Stats(); w.Status() != "" || st.Namespaces != 1 || st.Dumps != 1 || st.Lost+st.Errors+st.Malformed+st.Overflow != 0 {
		t.Errorf("status %q, %+v", w.Status(), st)
	}
}

// Events that were lost come by a dump.
func TestKernelWatchLosses(t *testing.T) {
	ns := netlab.New(t)
	w := New(Config{Host: true, HostNetNS: ns.Inode, BufferBytes: 4096, MaxPending: 100})
	release := make(chan struct{})
	opened := make(chan struct{})
	open := w.open
	w.open = func(path string, netns uint32, size int) (source, error) {
		src, err := open(path, netns, size)
		close(opened)
		<-release // nobody reads meanwhile
		return src, err
	}
	run(t, ns, w)
	<-opened
	insert(t, ns, 2000, 200)
	close(release)
	s := &sink{}
	await(t, w, s, ns.Inode, 2000, 200)
	probe.Until(t, patience, "the loss is counted and made good", func() error {
		w.Drain(s)
		if st := w.Stats(); st.Lost == 0 || st.Dumps < 2 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}

// So do translations that found no room.
func TestKernelWatchOverflow(t *testing.T) {
	ns := netlab.New(t)
	w := New(Config{Host: true, HostNetNS: ns.Inode, MaxPending: 100})
	run(t, ns, w)
	s := &sink{}
	insert(t, ns, 2000, 5)
	await(t, w, s, ns.Inode, 2000, 5)
	for w.add(&flows.NAT{}) { // nobody drains
	}
	insert(t, ns, 3000, 5)
	probe.Until(t, patience, "the overflow is counted", func() error {
		if st := w.Stats(); st.Overflow != 5 || st.Lost != 0 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	await(t, w, s, ns.Inode, 3000, 5)
	if st := w.Stats(); st.Dumps != 2 {
		t.Errorf("%+v", st)
	}
}

// Another namespace is watched from the first socket event on, and let go when
// nothing is heard of it.
func TestKernelWatchOthers(t *testing.T) {
	ns := netlab.New(t)
	child := exec.Command("/proc/self/exe", "-test.run", "^TestSleeper$")
	child.Env = append(os.Environ(), "WEIR_TEST_SLEEP=1")
	ns.StartCommand(t, child)
	t.Cleanup(func() { child.Process.Kill(); child.Wait() })
	insert(t, ns, 2000, 5)
	w := New(Config{Others: true, HostNetNS: 1, Forget: patience})
	now := time.Now()
	w.Seen(1, uint32(os.Getpid()), now.UnixNano()) // the host's: not watched
	w.Seen(ns.Inode, uint32(child.Process.Pid), now.UnixNano())
	run(t, nil, w)
	s := &sink{}
	await(t, w, s, ns.Inode, 2000, 5)
	insert(t, ns, 3000, 5)
	await(t, w, s, ns.Inode, 3000, 5)
	w.seen[ns.Inode].last.Store(now.Add(-2 * patience).UnixNano())
	w.rouse()
	probe.Until(t, patience, "the namespace is let go", func() error {
		if n := w.Stats().Namespaces; n != 0 {
			return fmt.Errorf("%d are watched", n)
		}
		return nil
	})
	if !w.seen[ns.Inode].gone.Load() {
		t.Error("the next event would not watch it again")
	}
}

func TestSleeper(t *testing.T) {
	if os.Getenv("WEIR_TEST_SLEEP") == "" {
		t.Skip("runs as a child of TestKernelWatchOthers only")
	}
	time.Sleep(time.Hour) // until it is killed; without cgo a wait for nothing is a deadlock, and ends
}

// D10: a kernel without conntrack. Nothing ends, the reason is told, and what
// comes later is found.
func TestCaseD10_NoConntrack(t *testing.T) {
	w := New(Config{Host: true, HostNetNS: 7, Retry: time.Millisecond})
	fail := make(chan error, 1)
	fail <- unix.EPROTONOSUPPORT
	w.open = func(string, uint32, int) (source, error) {
		select {
		case err := <-fail:
			fail <- err
			return nil, err
		default:
			return &stillSource{}, nil
		}
	}
	if got := w.Check(); got == "" {
		t.Error("doctor is told that all is well")
	}
	run(t, nil, w)
	probe.Until(t, patience, "the reason is told", func() error {
		if w.Status() == "" || w.Stats().Errors == 0 || w.Stats().Namespaces != 0 {
			return fmt.Errorf("status %q, %+v", w.Status(), w.Stats())
		}
		return nil
	})
	<-fail // the module is loaded
	probe.Until(t, patience, "it is found", func() error {
		if w.Status() != "" || w.Stats().Namespaces != 1 {
			return fmt.Errorf("status %q, %+v", w.Status(), w.Stats())
		}
		return nil
	})
}

// stillSource has nothing to tell.
type stillSource struct{}

func (*stillSource) fd() int                                      { return -1 } // poll leaves it out
func (*stillSource) events([]byte, int64, func(*flows.NAT)) error { return unix.EAGAIN }
func (*stillSource) dump([]byte, int64, func(*flows.NAT)) error   { return nil }
func (*stillSource) close()                                       {}

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.MaxPending = -1
	if c.Validate() == nil {
		t.Error("a negative limit passes")
	}
}
