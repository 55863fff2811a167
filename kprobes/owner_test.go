package kprobes

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// samePIDs skips a test that compares pids with what children say of themselves.
func samePIDs(t testing.TB, f *fixture) {
	t.Helper()
	if hostPID(t, f) != uint32(os.Getpid()) {
		t.Skip("runs in a pid namespace of its own")
	}
}

// started is a child whose output is read line by line.
type started struct {
	*exec.Cmd
	out *bufio.Reader
}

func startChild(t testing.TB, cmd *exec.Cmd) *started {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &started{cmd, bufio.NewReader(out)}
}

func (s *started) line(t testing.TB) string {
	t.Helper()
	l, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("read from child: %v", err)
	}
	return strings.TrimSpace(l)
}

func (s *started) pid() uint32 { return uint32(s.Process.Pid) }

func listenFile(t testing.TB) (net.Addr, *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	t.Cleanup(func() { f.Close() })
	return ln.Addr(), f
}

// TestCaseA7_PreforkWorkers is TestKernelPrefork under the name of its case.
func TestCaseA7_PreforkWorkers(t *testing.T) { TestKernelPrefork(t) }

// TestKernelPrefork: each connection belongs to the worker that accepted it.
func TestKernelPrefork(t *testing.T) {
	f := start(t, Config{})
	samePIDs(t, f)
	addr, file := listenFile(t)
	pids := make(map[uint32]bool)
	for range 3 {
		cmd := child(t, "worker")
		cmd.ExtraFiles = []*os.File{file}
		pids[startChild(t, cmd).pid()] = true
	}
	for range 40 {
		c, err := net.Dial("tcp4", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		want, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		lp, rp := ports(c)
		e := f.closed(rp, lp)
		if e.Owner.PID != uint32(want) || !pids[e.Owner.PID] || e.Role != RoleServer || e.Self {
			t.Errorf("served by %d, owner says %+v, self %v", want, e.Owner, e.Self)
		}
		if f.attached("sock_send_length") && e.Owner.How != OwnerIO {
			t.Errorf("owner known by %d", e.Owner.How)
		}
		if e.Opener.PID != hostPID(t, f) {
			t.Errorf("opener %d is not who listens", e.Opener.PID)
		}
		if f.attached("getpeername4") && (e.Acceptor != uint32(want) || e.Accepted < e.Opened || e.OwnerAt < e.Accepted) {
			t.Errorf("opened %d, accepted %d by %d, owner known at %d; served by %d", e.Opened, e.Accepted, e.Acceptor, e.OwnerAt, want)
		}
		if e.OpenerAt == 0 || e.OpenerAt > e.Opened || e.OwnerAt < e.Opened || e.OwnerAt > e.Time {
			t.Errorf("listener known at %d, opened %d, owner known at %d, closed %d", e.OpenerAt, e.Opened, e.OwnerAt, e.Time)
		}
		if f.attached("sock_send_length") && e.OwnerHook != IOSent {
			t.Errorf("owner known by hook %d", e.OwnerHook)
		}
	}
}

// TestKernelAcceptOnly: who accepted is known before the first octet.
func TestKernelAcceptOnly(t *testing.T) {
	f := start(t, Config{})
	f.need("getpeername4", "snapshot_files")
	samePIDs(t, f)
	addr, file := listenFile(t)
	cmd := child(t, "worker", "silent")
	cmd.ExtraFiles = []*os.File{file}
	w := startChild(t, cmd)
	c, err := net.Dial("tcp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.line(t)
	lp, rp := ports(c)
	f.snapshot()
	e := f.socket(SocketSnapshot, rp, lp)
	if e == nil || e.Owner.PID != w.pid() || e.Owner.How != OwnerAccept {
		t.Fatalf("%+v", e)
	}
}

// echo sends ten octets to addr, reads them back and returns the two ports.
func echo(t testing.TB, addr string) (local, remote uint16) {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	return ports(c)
}

// TestCaseA6_ForkAfterAccept: the creator is the parent, the user the child.
func TestCaseA6_ForkAfterAccept(t *testing.T) { TestKernelForkAfterAccept(t) }

func TestKernelForkAfterAccept(t *testing.T) {
	f := start(t, Config{})
	samePIDs(t, f)
	for _, mode := range []string{"", "read"} {
		t.Run("parent "+mode, func(t *testing.T) {
			f.t = t
			cmd := child(t, "fork-server")
			if mode != "" {
				cmd.Args = append(cmd.Args, mode)
			}
			server := startChild(t, cmd)
			addr := server.line(t)
			lp, rp := echo(t, addr)
			worker, err := strconv.Atoi(server.line(t))
			if err != nil {
				t.Fatal(err)
			}
			e := f.closed(rp, lp)
			if e.Opener.PID != server.pid() || e.Owner.PID != uint32(worker) || e.Owner.How != OwnerIO {
				t.Errorf("server %d, worker %d; opener %+v, owner %+v", server.pid(), worker, e.Opener, e.Owner)
			}
			if want := uint32(len(mode) / 4); e.Switches != want {
				t.Errorf("%d switches, want %d", e.Switches, want)
			}
		})
	}
}

// TestCaseA8_SCMRights: the user is who received the descriptor.
func TestCaseA8_SCMRights(t *testing.T) { TestKernelSCMRights(t) }

func TestKernelSCMRights(t *testing.T) {
	f := start(t, Config{})
	samePIDs(t, f)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	defer a.Close()
	defer b.Close()
	sc, wc := child(t, "scm-server"), child(t, "scm-worker")
	sc.ExtraFiles, wc.ExtraFiles = []*os.File{a}, []*os.File{b}
	server, worker := startChild(t, sc), startChild(t, wc)
	lp, rp := echo(t, server.line(t))
	e := f.closed(rp, lp)
	if e.Opener.PID != server.pid() || e.Owner.PID != worker.pid() {
		t.Errorf("server %d, worker %d; opener %+v, owner %+v", server.pid(), worker.pid(), e.Opener, e.Owner)
	}
	if e.Sent != 20 || e.Received != 20 {
		t.Errorf("sent %d, received %d", e.Sent, e.Received)
	}
}

// TestCaseA1_ShortLived: of processes that only connect, write and exit none is
// missed, and all is known of them though they are gone.
func TestCaseA1_ShortLived(t *testing.T) { TestKernelShortLived(t) }

func TestKernelShortLived(t *testing.T) {
	f := start(t, Config{})
	f.need("sched_process_exec", "sched_process_exit")
	samePIDs(t, f)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	const n = 30
	sent := make(map[uint32]int)
	for i := range n {
		sent[uint32(runChild(t, "dial", ln.Addr().String(), strconv.Itoa(i+1)))] = i + 1
		f.drain()
	}
	flows := make(map[uint32]*SocketEvent)
	f.until("all connections", f.drain, func() bool {
		for i := range f.sockets {
			if e := &f.sockets[i]; e.Kind == SocketClosed && e.Key.DstPort == port(ln.Addr()) {
				flows[e.Owner.PID] = e
			}
		}
		return len(flows) == n
	})
	for pid, octets := range sent {
		e := flows[pid]
		if e == nil || e.Sent != uint64(octets) || e.Owner.Comm.String() == "" || e.Owner.CgroupV2 == 0 {
			t.Fatalf("process %d sent %d: %+v", pid, octets, e)
		}
		var exec, exit, fork bool
		for _, p := range f.procs {
			if p.ProcessID != e.Owner.ProcessID {
				continue
			}
			switch p.Kind {
			case ProcessFork:
				fork = p.Parent.PID == hostPID(t, f)
			case ProcessExec:
				want := cmdline("/proc/self/exe", ln.Addr().String(), strconv.Itoa(octets))
				exec = string(p.Filename) == "/proc/self/exe" && string(p.Cmdline) == want && len(p.Exe) > 0
				if !exec {
					t.Errorf("exec %q %q %q", p.Filename, p.Exe, p.Cmdline)
				}
			case ProcessExit:
				exit = p.CgroupV2 == e.Owner.CgroupV2
			}
		}
		if !exec || !exit || !fork {
			t.Fatalf("process %d: fork %v, exec %v, exit %v", pid, fork, exec, exit)
		}
	}
	if st := f.set.Stats(); st.LostProcess+st.LostClosed+st.ProgramMisses != 0 {
		t.Errorf("losses: %+v", st)
	}
}

// TestKernelExisting: processes older than the probe are told with their
// command line, and no kernel thread is.
func TestKernelExisting(t *testing.T) {
	requireRoot(t)
	_, file := listenFile(t)
	cmd := child(t, "worker")
	cmd.ExtraFiles = []*os.File{file}
	w := startChild(t, cmd)
	waitExec(t, w.Process.Pid)
	f := start(t, Config{})
	samePIDs(t, f)
	n := 0
	for _, p := range f.procs {
		if p.Kind == ProcessExisting && len(p.Exe) == 0 && p.PID != 1 && p.Comm.String() == "kthreadd" {
			t.Errorf("kernel thread %+v", p)
		}
		if p.Kind != ProcessExisting || p.PID != w.pid() {
			continue
		}
		n++
		if p.Start == 0 || p.Parent.PID != hostPID(t, f) || p.Comm.String() == "" || len(p.Exe) == 0 {
			t.Errorf("%+v", p)
		}
		if f.attached("existing_sleepable") && string(p.Cmdline) != cmdline("/proc/self/exe") {
			t.Errorf("command line %q", p.Cmdline)
		}
	}
	if n != 1 {
		t.Errorf("told %d times", n)
	}
}

// waitExec waits until a started child runs its own image: it has no listener
// descriptor closed on exec left, and a command line.
func waitExec(t testing.TB, pid int) {
	t.Helper()
	for range 10_000 {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(b), "/proc/self/exe") {
			return
		}
	}
	t.Fatal("child did not start")
}

// TestKernelBootstrapOwner: an older connection held by a listening parent and
// the child that serves it goes to the child.
func TestKernelBootstrapOwner(t *testing.T) {
	requireRoot(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, server := dial(t, ln)
	file, err := server.File() // this process goes on to hold it
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := child(t, "read-some", "5")
	cmd.ExtraFiles = []*os.File{file}
	w := startChild(t, cmd)
	waitExec(t, w.Process.Pid)
	f := start(t, Config{})
	f.need("bootstrap_sockets", "find_listeners", "snapshot_files")
	samePIDs(t, f)
	lp, rp := ports(client)
	e := f.socket(SocketSnapshot, rp, lp)
	if e == nil || e.Owner.PID != w.pid() || e.Owner.How != OwnerBootstrap || e.Opener.PID != hostPID(t, f) {
		t.Fatalf("worker %d: %+v", w.pid(), e)
	}
	if _, err := client.Write(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	server.Close()
	file.Close()
	if e := f.closed(rp, lp); e.Owner.PID != w.pid() || e.Owner.How != OwnerIO || e.Received != 5 {
		t.Errorf("%+v", e)
	}
}

// TestKernelCgroup: birth and death of a cgroup are told with its path.
func TestKernelCgroup(t *testing.T) {
	f := start(t, Config{})
	f.need("cgroup_mkdir", "cgroup_rmdir")
	mi, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer mi.Close()
	root := findCgroup2(mi)
	if root == "" {
		t.Skip("cgroup v2 is not mounted")
	}
	dir := fmt.Sprintf("%s/weir-a-%d", root, os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	var kinds []CgroupKind
	f.until("cgroup events", f.drain, func() bool {
		kinds = nil
		for _, e := range f.cgroups {
			if e.ID == st.Ino && e.Unified && strings.HasSuffix(string(e.Path), fmt.Sprintf("/weir-a-%d", os.Getpid())) {
				kinds = append(kinds, e.Kind)
			}
		}
		return len(kinds) >= 2
	})
	if len(kinds) != 2 || kinds[0] != CgroupCreated || kinds[1] != CgroupRemoved {
		t.Errorf("events %v", kinds)
	}
}
