package kprobes

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/machine"
)

// patience is how long a test polls for an event: generous, for emulated
// machines; nothing is measured with it.
const patience = 30 * time.Second

// TestMain lets the test binary be its own child processes: they need no other
// program, so that the binary runs in a bare virtual machine.
func TestMain(m *testing.M) {
	if role := os.Getenv("WEIR_TEST_CHILD"); role != "" {
		f, ok := children[role]
		if !ok {
			fmt.Fprintln(os.Stderr, "no child role", role)
			os.Exit(2)
		}
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "child %s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child prepares this binary to run as one of children.
func child(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "WEIR_TEST_CHILD="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

func runChild(t testing.TB, role string, args ...string) int {
	t.Helper()
	cmd := child(t, role, args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("child %s: %v", role, err)
	}
	return cmd.Process.Pid
}

// recorder keeps copies of all it is told.
type recorder struct {
	sockets []SocketEvent
	peers   []PeerEvent
	procs   []ProcessEvent
	cgroups []CgroupEvent
	nats    []flows.NAT
	loads   []PayloadEvent
}

func (r *recorder) Socket(e *SocketEvent) { r.sockets = append(r.sockets, *e) }
func (r *recorder) Peer(e *PeerEvent)     { r.peers = append(r.peers, *e) }
func (r *recorder) NAT(n *flows.NAT)      { r.nats = append(r.nats, *n) }

func (r *recorder) Payload(e *PayloadEvent) {
	c := *e
	c.Data = bytes.Clone(e.Data)
	r.loads = append(r.loads, c)
}

func (r *recorder) Process(e *ProcessEvent) {
	c := *e
	c.Filename, c.Exe, c.Cmdline = bytes.Clone(e.Filename), bytes.Clone(e.Exe), bytes.Clone(e.Cmdline)
	r.procs = append(r.procs, c)
}

func (r *recorder) Cgroup(e *CgroupEvent) {
	c := *e
	c.Path = bytes.Clone(e.Path)
	r.cgroups = append(r.cgroups, c)
}

// socket returns the latest event of kind whose local port (or, if local is 0,
// whose remote port) matches.
func (r *recorder) socket(kind SocketKind, local, remote uint16) *SocketEvent {
	for i := len(r.sockets) - 1; i >= 0; i-- {
		e := &r.sockets[i]
		if e.Kind == kind && e.Role != RoleListener && (local == 0 || e.Key.SrcPort == local) && (remote == 0 || e.Key.DstPort == remote) {
			return e
		}
	}
	return nil
}

// peer returns the latest event of the socket bound to local about remote.
func (r *recorder) peer(local, remote uint16) *PeerEvent {
	for i := len(r.peers) - 1; i >= 0; i-- {
		if e := &r.peers[i]; e.Key.SrcPort == local && e.Key.DstPort == remote {
			return e
		}
	}
	return nil
}

type fixture struct {
	recorder
	set *Set
	t   testing.TB
}

func requireRoot(t testing.TB) {
	t.Helper()
	machine.Root(t, "loads BPF programs")
}

// attach starts the socket path without the bootstrap.
func attach(t testing.TB, cfg Config) *fixture {
	t.Helper()
	requireRoot(t)
	set, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := set.Attach(); err != nil {
		t.Fatal(err)
	}
	return &fixture{set: set, t: t}
}

func start(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := attach(t, cfg)
	if err := f.set.Bootstrap(f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) drain() {
	f.t.Helper()
	if _, err := f.set.Drain(f); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) snapshot() {
	f.t.Helper()
	if err := f.set.Snapshot(f); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) readPeers() {
	f.t.Helper()
	if err := f.set.Peers(f); err != nil {
		f.t.Fatal(err)
	}
}

// until polls poll until ok.
func (f *fixture) until(what string, poll func(), ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); ; {
		poll()
		if ok() {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("no %s within %v; stats %+v", what, patience, f.set.Stats())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// closed waits for the end of the connection with these ports; what it returns
// is a copy.
func (f *fixture) closed(local, remote uint16) *SocketEvent {
	f.t.Helper()
	var e *SocketEvent
	f.until(fmt.Sprintf("close of %d→%d", local, remote), f.drain, func() bool {
		e = f.socket(SocketClosed, local, remote)
		return e != nil
	})
	c := *e
	return &c
}

func (f *fixture) attached(program string) bool {
	return f.set.status[probeIndex(program)].State == StateAttached
}

func (f *fixture) need(programs ...string) {
	f.t.Helper()
	for _, p := range programs {
		if !f.attached(p) && !replaced(f.set.status, p) {
			f.t.Skipf("this kernel has no %s: %s", p, f.set.status[probeIndex(p)].Reason)
		}
	}
}

func port(a net.Addr) uint16 {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		panic(err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		panic(err)
	}
	return uint16(n)
}

func ports(c net.Conn) (local, remote uint16) { return port(c.LocalAddr()), port(c.RemoteAddr()) }

var loopback4 = flows.Addr{10: 0xff, 11: 0xff, 12: 127, 15: 1}

// cmdline is how the kernel keeps args.
func cmdline(args ...string) string { return strings.Join(args, "\x00") + "\x00" }
