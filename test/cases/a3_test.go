package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// cgroup makes a cgroup of the v2 hierarchy with the name of a container id, and
// returns the id and the file that takes processes.
func cgroup(t *testing.T, digit string) (id, procs string) {
	t.Helper()
	id = strings.Repeat(digit, 64)
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(root + "/cgroup.controllers"); err != nil {
			continue
		}
		at := filepath.Join(root, fmt.Sprint("wl-", os.Getpid(), "-", digit))
		for _, p := range []string{at, at + "/" + id} {
			if err := os.Mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Remove(p) })
		}
		return id, at + "/" + id + "/cgroup.procs"
	}
	t.Skip("no cgroup v2")
	return "", ""
}

// liveIn starts a role of the program in a cgroup. Its parent is gone by then.
func liveIn(t *testing.T, ns *netlab.NS, procs string, args ...any) *process {
	t.Helper()
	cmd := lifeCommand(t, args...)
	cmd.Args = append([]string{"sh", "-c", "echo $$ > " + procs + ` && exec "$0" "$@"`}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = "/bin/sh"
	p := launch(t, ns, cmd)
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() }) // before the cgroup is removed
	return p
}

// Two processes in two containers listen on one port of one namespace: the
// kernel chooses the socket, and its cookie names the right one.
func TestCaseA10_ReusePort(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 10)
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			ids := map[int]string{}
			port := 0
			for _, digit := range []string{"a", "b"} {
				id, procs := cgroup(t, digit)
				p := liveIn(t, l.host, procs, "says-pid", network, l.here, port)
				port = p.number()
				ids[p.Process.Pid] = id
			}
			const n = 24
			truth, seen := map[int]int{}, map[int]bool{}
			for range n {
				from, pid := asked(t, l, network, l.here+":"+strconv.Itoa(port))
				truth[from], seen[pid] = pid, true
			}
			if len(seen) != 2 {
				t.Fatalf("the kernel gave all %d connections to one of two", n)
			}
			for _, got := range rows.final(t, n, both(serverPort(port), proto(network))) {
				pid := truth[int(got.num("client_port"))]
				want(t, got, fields{"server_pid": pid, "server_container_id": ids[pid], "server_method": "cookie", "to_client_bytes": 10, "to_server_bytes": 1})
			}
		})
	}
}

func proto(p string) func(row) bool { return func(r row) bool { return r.tag("proto") == p } }

// One port on two addresses of this host, two processes.
func TestCaseA11_OnePortTwoAddresses(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 11)
	l.host.Address(t, "wl11", "10.201.11.3/24")
	for _, network := range []string{"tcp", "udp"} {
		first := live(t, l.host, "says-pid", network, l.here, 0)
		port := first.number()
		second := live(t, l.host, "says-pid", network, "10.201.11.3", port)
		second.number()
		truth := map[string]int{} // by server and client port, which may come again at the other
		for i := range 12 {
			p, at := first, l.here
			if i%2 == 1 {
				p, at = second, "10.201.11.3"
			}
			from, pid := asked(t, l, network, at+":"+strconv.Itoa(port))
			if truth[fmt.Sprint(at, " ", from)] = pid; pid != p.Process.Pid {
				t.Fatalf("%s answered %d", at, pid)
			}
		}
		for _, got := range rows.final(t, 12, both(serverPort(port), proto(network))) {
			want(t, got, fields{"server_pid": truth[fmt.Sprint(got.str("server_address"), " ", got.num("client_port"))], "server_method": "cookie"})
		}
	}
}

// A dual-stack and an IPv4 listener on one port: who accepted is who is named, and
// IPV6_V6ONLY keeps IPv4 away from the IPv6 one.
func TestCaseA12_DualStack(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 12)
	l.host.Address(t, "wl12", "fd00:201:12::1/64")
	l.box.Address(t, "eth0", "fd00:201:12::2/64")
	l.host.Address(t, "wl12", "10.201.12.3/24")
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprint("v6only ", only), func(t *testing.T) {
			six := lifeCommand(t, "says-pid", "tcp", "::", 0)
			v4 := l.here
			if only {
				six.Env, v4 = append(os.Environ(), "V6ONLY=1"), "0.0.0.0"
			}
			dual := launch(t, l.host, six)
			port := dual.number()
			four := live(t, l.host, "says-pid", "tcp", v4, port)
			four.number()
			calls := map[string]*process{"10.201.12.1": four, "[fd00:201:12::1]": dual, "10.201.12.3": dual}
			if only {
				calls["10.201.12.3"] = four
			}
			truth := map[int]*process{}
			at := map[int]string{}
			for to, p := range calls {
				from, pid := asked(t, l, "tcp", to+":"+strconv.Itoa(port))
				if pid != p.Process.Pid {
					t.Fatalf("%s was answered by %d", to, pid)
				}
				truth[from], at[from] = p, strings.Trim(to, "[]")
			}
			for _, got := range rows.final(t, len(calls), serverPort(port)) {
				from := int(got.num("client_port"))
				want(t, got, fields{"server_pid": truth[from].Process.Pid, "server_address": at[from], "server_method": "cookie"})
			}
		})
	}
}

// io_uring connects, sends and receives without a system call for each: in the
// thread that submits, in a worker, in the thread that polls the queue.
func TestCaseA13_IOUring(t *testing.T) {
	rows := watch(t)
	if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(b)) != "0" {
		t.Skip("io_uring is disabled: sysctl kernel.io_uring_disabled=0")
	}
	l := newLAN(t, 13)
	server := spawn(t, l.host, "serve", l.here+":0", "60000")
	port := server.number()
	callers := map[int]*process{}
	for _, mode := range []string{"inline", "async", "sqpoll"} {
		c := live(t, l.box, "uring", l.here, port, 70000, mode)
		callers[c.number()] = c
		c.ended()
	}
	for _, got := range rows.final(t, 3, serverPort(port)) {
		want(t, got, fields{
			"client_pid": callers[int(got.num("client_port"))].Process.Pid, "client_process": "life", "client_method": "cookie", "client_switches": -1,
			"to_server_bytes": 70000, "to_client_bytes": 60000, "close_cause": "normal",
		})
	}
}

// Very many processes at the start: weir is ready all the same, and knows one of
// them when it calls. (50 000 of them: in the process table only.)
func TestCaseA16_ManyProcessesAtStart(t *testing.T) {
	l := newLAN(t, 16)
	server := spawn(t, l.host, "serve", l.here+":0", "7")
	port := server.number()
	herd := live(t, l.box, "herd", 2000, l.here, port)
	if s := herd.line(); s != "ready" {
		t.Fatal(s)
	}
	_, rows := own(t)
	herd.say("one of you")
	pid, from := herd.number(), herd.number()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{"client_pid": pid, "client_ppid": herd.Process.Pid, "client_port": from, "client_process": "life", "to_server_bytes": 16})
		if line := got.str("client_cmdline"); !strings.Contains(line, "life herd 2000") {
			t.Errorf("command line %q", line)
		}
	}
	herd.say("go")
	herd.ended()
}

// A command line with secrets leaves this host without them.
func TestCaseA17_PasswordInTheCommandLine(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 17)
	server := spawn(t, l.host, "serve", l.here+":0", "7")
	port := server.number()
	c := live(t, l.box, "thread", l.here, port, 17, "--password=wl-hunter2", "-u", "root:wl-hunter3", "https://u:wl-hunter4@example.org/")
	c.number()
	c.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		if line := got.str("client_cmdline"); !strings.Contains(line, "--password=[redacted]") || !strings.Contains(line, "life thread "+l.here) {
			t.Errorf("command line %q", line)
		}
	}
	b, err := os.ReadFile(rows.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"wl-hunter2", "wl-hunter3", "wl-hunter4"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("%s was written", secret)
		}
	}
}
