package cases

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/probe"
)

// resourceChildren use what control groups count. The first argument is the name of a
// group of v1 that they enter, "" for the one they are in.
var resourceChildren = map[string]func(args []string) error{
	// burn calls an address, says how much CPU time it had used before it entered the
	// group (µs), and computes until its standard input ends.
	"burn": func(args []string) error {
		var before syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
			return err
		}
		if err := enter(args[0]); err != nil {
			return err
		}
		c, err := net.Dial("tcp", args[1])
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		if _, err := bufio.NewReader(c).ReadByte(); err != nil {
			return err
		}
		fmt.Println((before.Utime.Nano() + before.Stime.Nano()) / 1000)
		ended := make(chan struct{})
		go func() {
			_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			close(ended)
		}()
		for {
			select {
			case <-ended:
				return nil
			default:
				for i := range 1 << 16 {
					_ = math.Sqrt(float64(i))
				}
			}
		}
	},
	// hoard takes 256 MiB, which its group does not have.
	"hoard": func(args []string) error {
		if err := enter(args[0]); err != nil {
			return err
		}
		b := make([]byte, 256<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		return errors.New("there was room")
	},
}

// v1Controllers are the hierarchies of v1 that Weir reads.
var v1Controllers = []string{"cpu", "cpuacct", "memory", "blkio", "pids"}

func enter(group string) error {
	if group == "" {
		return nil
	}
	for _, c := range v1Controllers {
		if err := os.WriteFile(filepath.Join("/sys/fs/cgroup", c, group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return err
		}
	}
	return nil
}

// groupV1 makes control groups of cgroup v1 that look like those of an LXC container,
// which needs no engine to have a name.
func groupV1(t *testing.T, name string, settings map[string]string) (group string) {
	t.Helper()
	group = "lxc.payload." + name
	for _, c := range v1Controllers {
		if _, err := os.Stat("/sys/fs/cgroup/" + c + "/cgroup.procs"); err != nil {
			t.Skip("needs cgroup v1: cgroup v2 is covered by the case with Docker")
		}
	}
	for _, c := range v1Controllers {
		dir := filepath.Join("/sys/fs/cgroup", c, group)
		_ = os.Remove(dir) // of a killed run
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			probe.Until(t, patience, "the end of "+dir, func() error { return os.Remove(dir) }) // the last process may still be leaving
		})
	}
	for file, v := range settings {
		if err := os.WriteFile(filepath.Join("/sys/fs/cgroup", filepath.Dir(file), group, filepath.Base(file)), []byte(v), 0); err != nil {
			t.Fatal(err)
		}
	}
	return group
}

func ofEnd(name string) func(row) bool { return func(r row) bool { return r.tag("name") == name } }

func about(server, kind string) func(row) bool {
	return func(r row) bool { return r.tag("server") == server && r.tag("type") == kind }
}

// float adds up a field of rows.
func float(rs []row, field string) (sum float64) {
	for _, r := range rs {
		switch v := r.fields[field].(type) {
		case float64:
			sum += v
		case int64:
			sum += float64(v)
		}
	}
	return sum
}

// A fifth of a core: what was used is what the process itself was charged, and that it
// was slow because of its quota stands under the name that its traffic has.
func TestResources_Throttled(t *testing.T) {
	_, r := own(t)
	group := groupV1(t, "wcthrottled", map[string]string{"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "100000"})
	server := spawn(t, nil, "serve", "127.206.7.1:0", "1")
	port := server.number()
	p := spawn(t, nil, "burn", group, fmt.Sprint("127.206.7.1:", port))
	before := p.number()
	name := ofEnd("wcthrottled")
	probe.Until(t, patience, "20 throttled periods", func() error {
		if n := float(r.all(t, "container", name), "cpu_throttled_periods"); n < 20 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	p.stdin.Close()
	p.ended()
	r.settle(t)
	rs := r.all(t, "container", name)
	charged := (p.ProcessState.UserTime() + p.ProcessState.SystemTime() - time.Duration(before)*time.Microsecond).Seconds()
	// Two counters in steps of 10 ms.
	if got := float(rs, "cpu_user_seconds") + float(rs, "cpu_system_seconds"); math.Abs(got-charged) > 0.04+0.02*charged {
		t.Errorf("%.3f s in rows, the process was charged %.3f s, after %d µs outside:\n%v", got, charged, before, rs)
	}
	if float(rs, "cpu_throttled_seconds") <= 0 || float(rs, "cpu_periods") < float(rs, "cpu_throttled_periods") {
		t.Errorf("throttling: %v", rs)
	}
	for _, x := range rs {
		if x.fields["cpu_quota_cores"] != 0.2 || x.tag("kind") != "container" || x.tag("container") != "wcthrottled" {
			t.Errorf("row %v", x)
		}
	}
	// The process's own rows: in steps of 10 ms, without what it used after the last.
	ps := r.all(t, "process", name)
	if got := float(ps, "cpu_user_seconds") + float(ps, "cpu_system_seconds"); got > charged+0.02 || got < charged/2 {
		t.Errorf("%.3f s in rows of the process, it was charged %.3f s:\n%v", got, charged, ps)
	}
	for _, x := range ps {
		if x.tag("process") != "cases.test" || x.tag("container") != "wcthrottled" || x.num("tcp_sockets") != 0 || x.num("open_files") < 4 || x.num("memory_resident_bytes") < 1<<20 {
			t.Errorf("row %v", x)
		}
	}
	want(t, r.final(t, 1, serverPort(port))[0], map[string]any{"client": "wcthrottled", "client_container": "wcthrottled"})
	if ev := r.all(t, "event", about("wcthrottled", "throttled")); len(ev) == 0 || ev[0].fields["seen"].(float64) <= 0.5 {
		t.Errorf("events %v", ev)
	}
}

// A process killed for want of memory is counted once, and an event.
func TestResources_OOM(t *testing.T) {
	_, r := own(t)
	group := groupV1(t, "wcoom", map[string]string{"memory/memory.limit_in_bytes": strconv.Itoa(64 << 20), "memory/memory.swappiness": "0"})
	p := spawn(t, nil, "hoard", group)
	_ = p.Wait()
	if ws, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v", p.ProcessState)
	}
	probe.Until(t, patience, "the event", func() error {
		if len(r.all(t, "event", about("wcoom", "oom"))) == 0 {
			return fmt.Errorf("none, %v", r.all(t, "container", ofEnd("wcoom")))
		}
		return nil
	})
	r.settle(t)
	ev := r.all(t, "event", about("wcoom", "oom"))
	if len(ev) != 1 || ev[0].fields["seen"] != 1.0 || ev[0].tag("severity") != "error" {
		t.Errorf("events %v", ev)
	}
	rs := r.all(t, "container", ofEnd("wcoom"))
	if n := float(rs, "oom_kills"); n != 1 {
		t.Errorf("%v kills in rows, want 1", n)
	}
	want(t, rs[len(rs)-1], map[string]any{"memory_limit_bytes": 64 << 20})
}

// A container of Docker's has one name in flow and in container; its limits are those
// that it was given.
func TestResources_Docker(t *testing.T) {
	e := dockerd.Start(t)
	image := childImage(t, e)
	r := ownEngine(t, e)
	port := spawn(t, nil, "serve", "127.206.7.2:0", "1").number()
	p := inContainer(t, e, image, "wcdocker", []string{"--network", "host", "--cpus", "0.25", "--memory", "96m", "--pids-limit", "64",
		"--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=batch"},
		"burn", "", fmt.Sprint("127.206.7.2:", port))
	p.number()
	var rs []row
	probe.Until(t, patience, "a throttled interval", func() error {
		if rs = r.all(t, "container", ofEnd("shop/batch")); float(rs, "cpu_throttled_periods") == 0 {
			return fmt.Errorf("%d rows", len(rs))
		}
		return nil
	})
	p.stdin.Close()
	p.ended()
	flow := r.final(t, 1, serverPort(port))[0]
	last := rs[len(rs)-1]
	if last.tag("name") != flow.tag("client") || last.tag("container") != flow.str("client_container") {
		t.Errorf("container %v\nflow %v", last, flow)
	}
	edges := r.all(t, "flow", func(x row) bool { return x.tag("client") == "shop/batch" })
	if len(edges) == 0 || edges[0].tag("client_kind") != last.tag("kind") || edges[0].tag("client_container") != last.tag("container") {
		t.Errorf("container %v\nflow %v", last, edges)
	}
	want(t, last, map[string]any{"memory_limit_bytes": 96 << 20, "pids_limit": 64, "kind": "container"})
	if last.fields["cpu_quota_cores"] != 0.25 || last.num("memory_bytes") <= 0 || last.num("pids") <= 0 {
		t.Errorf("row %v", last)
	}
	for _, x := range rs {
		if x.time%int64(time.Second) != 0 {
			t.Errorf("a row off the grid that flow is on: %v", x)
		}
	}
}
