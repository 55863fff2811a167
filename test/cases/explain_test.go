package cases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// explainChildren are the children of the tests of weir explain.
var explainChildren = map[string]func(args []string) error{
	"explain-handover": childHandover,
	"explain-worker":   childWorker,
	"explain-call":     childCallFrom,
}

// childHandover listens at args[0], prints its port, accepts one connection and
// gives it to a process of its own, whose pid it prints.
func childHandover(args []string) error {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	c.Close()
	w := exec.Command("/proc/self/exe")
	w.Env = append(os.Environ(), childRole+"=explain-worker")
	w.ExtraFiles, w.Stderr = []*os.File{f}, os.Stderr
	if err := w.Start(); err != nil {
		return err
	}
	f.Close()
	fmt.Println(w.Process.Pid)
	return w.Wait()
}

// childWorker serves the connection it was given.
func childWorker([]string) error {
	c, err := net.FileConn(os.NewFile(3, "conn"))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	_, err = c.Write([]byte("done"))
	return err
}

// childCallFrom connects from args[0] (port 0: any) to args[1], prints its port,
// waits for a line, sends 5 octets, reads to the end and exits.
func childCallFrom(args []string) error {
	from, err := net.ResolveTCPAddr("tcp", args[0])
	if err != nil {
		return err
	}
	c, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", args[1])
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(c.LocalAddr().(*net.TCPAddr).Port)
	if _, err := fmt.Scanln(); err != nil && !errors.Is(err, io.EOF) && err.Error() != "unexpected newline" {
		return err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// explained is what weir explain --json says of a connection.
type explained struct {
	Proto, Outcome, Joined, Packets, NAT string
	Start, Seen                          int64
	Open                                 bool
	Rivals                               []string
	Client, Server                       explainedEnd
}

type explainedEnd struct {
	Name, Address, Owner, Confidence string
	NAT                              string `json:"nat_address"`
	Steps                            []struct {
		Time         int64
		Source, Text string
	}
}

// step is the first step from a source, or a failure.
func (e *explainedEnd) step(t *testing.T, source, text string) (at int64) {
	t.Helper()
	for _, s := range e.Steps {
		if s.Source == source && strings.Contains(s.Text, text) {
			return s.Time
		}
	}
	t.Errorf("no step %q that says %q in %+v", source, text, e.Steps)
	return 0
}

// explainer asks a weir explain about the journal of a running probe.
type explainer struct{ journal, listen string }

func (x explainer) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"explain", "--journal", x.journal, "--listen", x.listen}, args...)...)
	cmd.Env = append(os.Environ(), "WEIR_CONFIG=/dev/null")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// want waits until n connections match, all with what ok wants, and returns them.
func (x explainer) want(t *testing.T, n int, ok func(*explained) bool, args ...string) []explained {
	t.Helper()
	var d struct{ Connections []explained }
	probe.Until(t, patience, fmt.Sprint("explain ", args), func() error {
		out, errs, _ := x.run(t, append(args, "--json")...)
		d.Connections = nil
		if out == "" {
			return errors.New(errs)
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatalf("%v in %.2000s", err, out)
		}
		if len(d.Connections) != n {
			return fmt.Errorf("%d connections", len(d.Connections))
		}
		for i := range d.Connections {
			if !ok(&d.Connections[i]) {
				return fmt.Errorf("not yet: %+v", d.Connections[i])
			}
		}
		return nil
	})
	for i := range d.Connections {
		inOrder(t, &d.Connections[i])
	}
	return d.Connections
}

func closed(x *explained) bool { return !x.Open }

// inOrder wants every step's time in order and, but for the listener's, in the
// connection's life. Times of sockets and of packets come by two ways.
func inOrder(t *testing.T, x *explained) {
	t.Helper()
	const slack = int64(50 * time.Millisecond)
	for _, e := range []*explainedEnd{&x.Client, &x.Server} {
		last := int64(0)
		for _, s := range e.Steps {
			if s.Time == 0 {
				continue
			}
			if s.Time < last {
				t.Errorf("%s %q: at %d, after a step at %d", s.Source, s.Text, s.Time, last)
			}
			last = s.Time
			if strings.HasPrefix(s.Text, "listening") || s.Source == "cgroup/sock_create" {
				continue // before the connection
			}
			if s.Time < x.Start-slack || s.Time > x.Seen+slack {
				t.Errorf("%s %q: at %d, and the connection lived from %d to %d", s.Source, s.Text, s.Time, x.Start, x.Seen)
			}
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// unifiedGroup makes a group of the unified hierarchy and returns how to start a
// command in it.
func unifiedGroup(t *testing.T, path string) func(*exec.Cmd) {
	t.Helper()
	root := "/sys/fs/cgroup/unified"
	if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
		root = "/sys/fs/cgroup"
	}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		t.Skip("not stageable here: no unified cgroup hierarchy")
	}
	dir := filepath.Join(root, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Skipf("not stageable here: %v", err)
	}
	t.Cleanup(func() { os.Remove(dir); os.Remove(filepath.Dir(dir)) })
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(cmd *exec.Cmd) {
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
}

// weir explain tells, from the journal of a running probe, which events gave the
// owners: a connection handed to another process, one translated, one of a
// container, two with one tuple in two namespaces, and a datagram flow.
func TestExplain(t *testing.T) {
	x := explainer{filepath.Join(t.TempDir(), "journal"), freeAddress(t)}
	_, rows := own(t, "--journal", x.journal, "--listen", x.listen)
	host := netlab.Host(t)

	// handed over: accepted by one process, served by another
	near := netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wx1", CIDR: "10.208.1.1/24"}, netlab.End{NS: near, Name: "eth0", CIDR: "10.208.1.2/24"})
	metered(t, rows, "10.208.1.1", pair{near, host})
	acceptor := spawn(t, nil, "explain-handover", "10.208.1.1:0")
	handed := acceptor.number()
	caller := spawn(t, near, "explain-call", "10.208.1.2:0", fmt.Sprint("10.208.1.1:", handed))
	callerPort := caller.number()

	// open: neither end nor heartbeat has been written yet
	open := x.want(t, 1, func(e *explained) bool { return e.Open && strings.Contains(e.Joined, "sequence") }, fmt.Sprint("10.208.1.2:", callerPort))[0]
	open.Server.step(t, "cgroup/getpeername4", fmt.Sprintf("(pid %d)", acceptor.Process.Pid))
	worker := acceptor.number()
	caller.say("")
	caller.ended()
	acceptor.ended()

	// translated, by the client's own namespace; the client in a container
	inside := netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wx2", CIDR: "10.208.2.1/24"}, netlab.End{NS: inside, Name: "eth0", CIDR: "10.208.2.2/24"})
	inside.Route(t, "0.0.0.0/0", "10.208.2.1")
	metered(t, rows, "10.208.2.1", pair{inside, host})
	server := spawn(t, nil, "serve", "10.208.2.1:0", "700")
	served := server.number()
	inside.Run(t, "nft", "add", "table", "ip", "wx")
	inside.Run(t, "nft", "add", "chain", "ip", "wx", "out", "{ type nat hook output priority -100 ; }")
	inside.Run(t, "nft", "add", "rule", "ip", "wx", "out", "ip", "daddr", "10.208.9.9", "tcp", "dport", "80", "dnat", "to", fmt.Sprint("10.208.2.1:", served))
	id := strings.Repeat("0ff1ce", 11)[:64]
	translated := spawnWith(t, inside, unifiedGroup(t, "wxexplain/docker-"+id+".scope"), "explain-call", "10.208.2.2:0", "10.208.9.9:80")
	translatedPort := translated.number()
	translated.say("")
	translated.ended()

	// one tuple in two pairs of namespaces at the same time
	var twins []*process
	var twinServers []*process
	for range 2 {
		a, b := netlab.New(t), netlab.New(t)
		netlab.Veth(t, netlab.End{NS: a, Name: "eth0", CIDR: "10.208.4.1/24"}, netlab.End{NS: b, Name: "eth0", CIDR: "10.208.4.2/24"})
		s := spawn(t, b, "serve", "10.208.4.2:7000", "70")
		s.number()
		c := spawn(t, a, "explain-call", "10.208.4.1:40000", "10.208.4.2:7000")
		c.number()
		twins, twinServers = append(twins, c), append(twinServers, s)
	}
	for _, c := range twins {
		c.say("")
		c.ended()
	}

	// datagrams
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	from, err := net.Dial("udp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := udp.ReadFrom(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	udpPort := from.LocalAddr().(*net.UDPAddr).Port
	from.Close()

	t.Run("handed over", func(t *testing.T) {
		e := x.want(t, 1, closed, fmt.Sprint("10.208.1.2:", callerPort), fmt.Sprint("10.208.1.1:", handed))[0]
		connected := e.Client.step(t, "tp_btf/inet_sock_set_state", fmt.Sprintf("(pid %d)", caller.Process.Pid))
		e.Client.step(t, "tp_btf/sock_send_length", fmt.Sprintf("(pid %d): the owner", caller.Process.Pid))
		listening := e.Server.step(t, "tp_btf/inet_sock_set_state", fmt.Sprintf("(pid %d)", acceptor.Process.Pid))
		accepted := e.Server.step(t, "cgroup/getpeername4", fmt.Sprintf("(pid %d)", acceptor.Process.Pid))
		first := e.Server.step(t, "tp_btf/tcp_rcv_space_adjust", fmt.Sprintf("(pid %d): the owner", worker))
		if !(listening < connected && connected < accepted && accepted < first) {
			t.Errorf("listening %d, connected %d, accepted %d, first data %d: not in this order", listening, connected, accepted, first)
		}
		if !strings.Contains(e.Joined, "sequence numbers") || !strings.Contains(e.Packets, "cookie") || e.Outcome != "normal" || e.NAT != "" {
			t.Errorf("joined %q, packets %q, outcome %q, NAT %q", e.Joined, e.Packets, e.Outcome, e.NAT)
		}
	})
	t.Run("translated", func(t *testing.T) {
		// by the address it called, and by where it arrived
		for _, to := range []string{"10.208.9.9:80", fmt.Sprint("10.208.2.1:", served)} {
			e := x.want(t, 1, closed, to, fmt.Sprint(":", translatedPort))[0]
			if !strings.Contains(e.NAT, "10.208.9.9:80") || !strings.Contains(e.NAT, "told by") || !strings.Contains(e.Joined, "sequence") {
				t.Errorf("NAT %q, joined %q", e.NAT, e.Joined)
			}
			if !strings.Contains(e.Server.Owner, fmt.Sprintf("pid %d", server.Process.Pid)) || e.Server.NAT != "10.208.9.9:80" {
				t.Errorf("server %+v", e.Server)
			}
		}
	})
	t.Run("container", func(t *testing.T) {
		e := x.want(t, 1, closed, "--pid", fmt.Sprint(translated.Process.Pid))[0]
		e.Client.step(t, "cgroup v2", "/wxexplain/docker-"+id+".scope → container "+id[:12])
		if !strings.Contains(e.Client.Owner, "in container "+id[:12]) {
			t.Errorf("client is %q", e.Client.Owner)
		}
		if got := x.want(t, 1, closed, "--container", id[:8])[0]; got.Client.Address != e.Client.Address {
			t.Errorf("by container %q, by pid %q", got.Client.Address, e.Client.Address)
		}
	})
	t.Run("two namespaces", func(t *testing.T) {
		all := x.want(t, 2, func(e *explained) bool { return !e.Open && len(e.Rivals) > 0 }, "10.208.4.2:7000", "10.208.4.1:40000")
		for _, e := range all {
			if !strings.Contains(e.Rivals[0], "1 in another network namespace") {
				t.Errorf("rivals %q", e.Rivals)
			}
		}
		for i, c := range twins {
			e := x.want(t, 1, closed, "10.208.4.1:40000", "--pid", fmt.Sprint(c.Process.Pid))[0]
			e.Client.step(t, "tp_btf/inet_sock_set_state", fmt.Sprintf("(pid %d)", c.Process.Pid))
			e.Server.step(t, "tp_btf/tcp_rcv_space_adjust", fmt.Sprintf("(pid %d)", twinServers[i].Process.Pid))
			if other := fmt.Sprintf("[%d]", twins[1-i].Process.Pid); len(e.Rivals) < 2 || !strings.Contains(e.Rivals[1], other) {
				t.Errorf("the rival of %d should be %s: %q", c.Process.Pid, other, e.Rivals)
			}
		}
	})
	t.Run("datagrams", func(t *testing.T) {
		e := x.want(t, 1, closed, fmt.Sprint("127.0.0.1:", udpPort), udp.LocalAddr().String())[0]
		made := e.Client.step(t, "cgroup/sock_create", fmt.Sprintf("socket() by cases.test (pid %d)", os.Getpid()))
		if sent := e.Client.step(t, "tp_btf/sock_send_length", fmt.Sprintf("(pid %d)", os.Getpid())); made >= sent {
			t.Errorf("made at %d, first data at %d", made, sent)
		}
		e.Server.step(t, "tp_btf/sock_recv_length", fmt.Sprintf("(pid %d)", os.Getpid()))
		if e.Proto != "udp" {
			t.Errorf("proto %s", e.Proto)
		}
	})
	t.Run("no such connection", func(t *testing.T) {
		out, errs, code := x.run(t, "10.208.200.200:1")
		if code != 1 || out != "" || !strings.Contains(errs, "none matches") || !strings.Contains(errs, "running probe") {
			t.Errorf("status %d, %q, %q", code, out, errs)
		}
	})
}
