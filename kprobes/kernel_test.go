package kprobes

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/bpf"
)

// required says which hooks a kernel of at least this version must have; one of
// them missing is a failure there, not a reason to skip.
var required = []struct {
	major, minor int
	programs     []string
}{
	{5, 12, []string{"inet_sock_set_state", "tcp_retransmit_synack", "tcp_rcv_space_adjust", "sock_create", "sock_release", "post_bind4", "post_bind6", "getpeername4", "getpeername6",
		"peer_egress", "peer_ingress", "snapshot_files", "datagram_files", "find_listeners", "bootstrap_sockets",
		"sched_process_exec", "sched_process_fork", "sched_process_exit", "cgroup_mkdir", "cgroup_rmdir"}},
	{5, 18, []string{"existing_sleepable"}},
	{5, 17, []string{"kfree_skb"}},
	{6, 11, []string{"kfree_skb_rx"}},
	{6, 2, []string{"peer_egress_nat"}},
	{6, 3, []string{"sock_send_length", "sock_recv_length"}},
}

func kernelVersion(t testing.TB) (major, minor int) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major, minor
}

// TestKernelProbe: what this kernel must have loads, verifies and attaches, and
// the report says why of everything else.
func TestKernelProbe(t *testing.T) {
	requireRoot(t)
	major, minor := kernelVersion(t)
	statuses, err := Probe(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i, st := range statuses {
		t.Logf("%-40s %-9s %s", st.Probe, st.State, st.Reason)
		if st.State != StateAttached && st.Reason == "" {
			t.Errorf("%s is %s without a reason", st.Probe, st.State)
		}
		if st.Probe == "" || st.Loses == "" || probes[i].needs == "" {
			t.Errorf("row %d of the table is not complete", i)
		}
	}
	for _, r := range required {
		if major < r.major || major == r.major && minor < r.minor {
			continue
		}
		for _, p := range r.programs {
			if !readable(p) {
				continue
			}
			if st := statuses[probeIndex(p)]; st.State != StateAttached && !replaced(statuses, p) {
				t.Errorf("Linux %d.%d must have %s: %s, %s", major, minor, p, st.State, st.Reason)
			}
		}
	}
}

// replaced says whether what the program stands in for is attached: better.
func replaced(statuses []Status, program string) bool {
	first := probes[probeIndex(program)].standsIn
	return first != "" && statuses[probeIndex(first)].State == StateAttached
}

// readable says whether what the program reads is there: nf_conntrack may be a
// module that is not loaded.
func readable(program string) bool {
	if !probes[probeIndex(program)].conntrack {
		return true
	}
	_, why := bpf.ConntrackTypes()
	return why == ""
}

// TestKernelLoadAll: every program verifies, the stand-ins included.
func TestKernelLoadAll(t *testing.T) {
	requireRoot(t)
	s, err := Load(Config{Payload: true, TLS: runtime.GOARCH == "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must := make(map[string]bool)
	major, minor := kernelVersion(t)
	for _, r := range required {
		for _, p := range r.programs {
			must[p] = readable(p) && (major > r.major || major == r.major && minor >= r.minor)
		}
	}
	for i := range probes {
		p := &probes[i]
		if s.programs[p.program] != nil {
			continue
		}
		if m, ok := must[p.program]; ok && !m {
			continue
		}
		if p.kind == kindStorageIter && !storageIterated() {
			t.Logf("%s: this kernel lets nobody iterate socket storage", p.program)
			continue
		}
		if p.tls && !s.cfg.TLS {
			continue
		}
		if !s.loadProbe(i) && !(p.tls && s.status[i].State == StateMissing) { // on older kernels
			t.Errorf("%s: %+v", p.program, s.errs[i])
		}
	}
}

// storageIterated says whether the kernel takes the least of programs that iterate
// socket storage. Some refuse all of this kind to everybody.
func storageIterated() bool {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "bpf_sk_storage_map", License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// takeAway makes the programs of a loaded set ones that this kernel does not have.
func takeAway(s *Set, programs ...string) {
	for _, p := range programs {
		i := probeIndex(p)
		if prog := s.programs[p]; prog != nil {
			prog.Close()
			delete(s.programs, p)
		}
		s.status[i].State, s.status[i].Reason = StateMissing, "taken away by the test"
	}
}

// TestKernelSnapshotByFiles: where socket storage cannot be iterated, open sockets are
// told by who has them in a descriptor table, once each, whatever the namespace.
func TestKernelSnapshotByFiles(t *testing.T) {
	requireRoot(t)
	s, err := Load(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	takeAway(s, "snapshot_tcp", "datagram_owners")
	if err := s.Attach(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"snapshot_files", "datagram_files"} {
		if st := s.status[probeIndex(p)]; st.State != StateAttached {
			t.Fatalf("%s: %s, %s", st.Probe, st.State, st.Reason)
		}
	}
	f := &fixture{set: s, t: t}
	if err := s.Bootstrap(f); err != nil {
		t.Fatal(err)
	}
	client, server := pair(t)
	lp, rp := ports(client)
	again, err := client.File() // a second descriptor of the same socket
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	transfer(t, client, server, 4321)
	var e *SocketEvent
	f.until("snapshot", f.snapshot, func() bool {
		e = f.socket(SocketSnapshot, lp, rp)
		return e != nil && e.Sent == 4321
	})
	if e.Owner.PID != hostPID(t, f) {
		t.Errorf("%+v", e)
	}
	told := 0
	for i := range f.sockets {
		if x := &f.sockets[i]; x.Kind == SocketSnapshot && x.Key.SrcPort == lp && x.Sent == 4321 {
			told++
		}
	}
	if told != 1 {
		t.Errorf("one state told %d times", told)
	}
	udp, other := listenUDP(t, "udp4", "127.0.0.1:0"), listenUDP(t, "udp4", "127.0.0.1:0")
	if _, err := udp.WriteTo([]byte("hello"), other.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	receive(t, other, 1, nil)
	f.readPeers()
	if p := f.peer(port(udp.LocalAddr()), port(other.LocalAddr())); p == nil || p.Owner.PID != hostPID(t, f) || p.Released {
		t.Errorf("%+v", p)
	}
}

// TestKernelStandIns: without the hooks at every send and receive datagram
// owners still are right where the cgroup hooks reach.
func TestKernelStandIns(t *testing.T) {
	requireRoot(t)
	s, err := Load(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	takeAway(s, "sock_send_length", "sock_recv_length")
	if err := s.Attach(); err != nil {
		t.Fatal(err)
	}
	for i := range probes {
		switch st := s.status[i]; {
		case probes[i].standsIn == "sock_send_length" || probes[i].standsIn == "sock_recv_length":
			if st.State != StateAttached {
				t.Errorf("%s: %s, %s", st.Probe, st.State, st.Reason)
			}
		case probes[i].hot:
			if st.State != StateFallback {
				t.Errorf("%s: %s, %s", st.Probe, st.State, st.Reason)
			}
		}
	}
	f := &fixture{set: s, t: t}
	if err := s.Bootstrap(f); err != nil {
		t.Fatal(err)
	}
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	client := listenUDP(t, "udp4", "127.0.0.1:0")
	sp, cp := port(server.LocalAddr()), port(client.LocalAddr())
	if _, err := client.WriteTo([]byte("hello"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	receive(t, server, 1, nil)
	f.readPeers()
	for _, e := range []*PeerEvent{f.peer(cp, sp), f.peer(sp, cp)} {
		if e == nil || e.Owner.PID != hostPID(t, f) || e.Owner.How != OwnerIO {
			t.Errorf("%+v", e)
		}
	}
}

// TestKernelNoIOHooks: the switch leaves the two hot programs out.
func TestKernelNoIOHooks(t *testing.T) {
	f := start(t, Config{NoIOHooks: true})
	for i := range probes {
		if probes[i].hot || probes[i].standsIn != "" && probes[probeIndex(probes[i].standsIn)].hot {
			if st := f.set.status[i]; st.State != StateOff {
				t.Errorf("%s: %s", st.Probe, st.State)
			}
		}
	}
	client, server := pair(t)
	lp, rp := ports(client)
	transfer(t, client, server, 10)
	client.Close()
	eof(t, server)
	server.Close()
	if e := f.closed(rp, lp); e.Sent != 0 || e.Received != 10 || e.Owner.How != OwnerIO {
		t.Errorf("%+v", e) // by tcp_rcv_space_adjust
	}
}

// TestKernelPrivateMount: where no v2 hierarchy is mounted, one mounted for a
// moment is as good, and nothing stays behind.
func TestKernelPrivateMount(t *testing.T) {
	requireRoot(t)
	root, err := mountCgroup2()
	if err != nil {
		t.Fatal(err)
	}
	defer root.dir.Close()
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(after), "weir-cgroup-") {
		t.Error("a mount was left behind")
	}
	var st unix.Stat_t
	if err := unix.Stat(root.path(), &st); err != nil || st.Ino != 1 {
		t.Errorf("inode %d, %v: not the root of the hierarchy", st.Ino, err)
	}
	s, err := Load(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := &probes[probeIndex("sock_create")]
	if err := s.attachProbe(p, s.programs[p.program], root); err != nil {
		t.Error(err)
	}
}
