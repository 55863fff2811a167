package docker_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/container/docker"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/machine"
)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

// follow runs a client until the test ends.
func follow(t *testing.T, cfg docker.Config) *docker.Client {
	t.Helper()
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = 20 * time.Millisecond
	}
	c := docker.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestEngine(t *testing.T) {
	e := dockerd.Start(t)
	image := e.Busybox(t)
	before := e.Run(t, append(dockerd.Compose("shop", "db", 1), "--name", "shop_db_1", image, "sleep", "600")...)
	c := follow(t, docker.Config{Host: e.Host})
	machine.Until(t, "connected", func() bool { return c.Status().Connected })

	t.Run("container older than the probe", func(t *testing.T) {
		want := correlate.Container{ID: before, Name: "shop_db_1", Image: image, Project: "shop", Service: "db", Replica: "1"}
		if got := c.Lookup(before); got == nil || *got != want || got.DisplayName() != "shop/db" {
			t.Errorf("%+v", got)
		}
		ip := addr(e.IP(t, before, "bridge"))
		if got := c.ByAddress(ip, time.Now().UnixNano()); got == nil || got.ID != before {
			t.Errorf("%s: %+v", ip, got)
		}
	})
	t.Run("container that lives for a moment", func(t *testing.T) { // H1, H2
		cidfile := filepath.Join(t.TempDir(), "id")
		e.Docker(t, append(append([]string{"run", "--rm", "--cidfile", cidfile, "--name", "blink"}, dockerd.Compose("shop", "job", 7)...), image, "true")...)
		ran, err := os.ReadFile(cidfile)
		if err != nil {
			t.Fatal(err)
		}
		machine.Until(t, "known", func() bool { return c.Lookup(string(ran)) != nil })
		if got := c.Lookup(string(ran)); got.Name != "blink" || got.Image != image || got.Service != "job" || got.Replica != "7" {
			t.Errorf("after it ran: %+v", got)
		}
		id := e.Docker(t, append(append([]string{"create"}, dockerd.Compose("shop", "once", 1)...), image, "true")...)
		e.Docker(t, "rm", id)
		machine.Until(t, "known", func() bool { return c.Lookup(id) != nil })
		if got := c.Lookup(id); got.Project != "shop" || got.Service != "once" || got.Image != image {
			t.Errorf("after it is gone: %+v", got)
		}
	})
	t.Run("cgroup id", func(t *testing.T) { cgroupToContainer(t, e, c, before) })
	t.Run("address reused", func(t *testing.T) { addressReused(t, e, c, image) })
	t.Run("rename, connect, disconnect", func(t *testing.T) {
		e.Network(t, "backend")
		id := e.Run(t, "--name", "old", image, "sleep", "600")
		e.Docker(t, "network", "connect", "backend", id)
		ip := addr(e.IP(t, id, "backend"))
		machine.Until(t, "second address", func() bool { return c.ByAddress(ip, time.Now().UnixNano()) != nil })
		e.Docker(t, "rename", id, "new")
		machine.Until(t, "new name", func() bool { return c.Lookup(id).Name == "new" })
		e.Docker(t, "network", "disconnect", "backend", id)
		machine.Until(t, "second address gone", func() bool { return c.ByAddress(ip, time.Now().UnixNano()) == nil })
		if got := c.ByAddress(addr(e.IP(t, id, "bridge")), time.Now().UnixNano()); got == nil || got.Name != "new" {
			t.Errorf("first address: %+v", got)
		}
	})
	t.Run("engine restarted", func(t *testing.T) {
		connects := c.Stats().Connects
		e.Restart(t)
		machine.Until(t, "connected again", func() bool { return c.Stats().Connects > connects && c.Status().Connected })
		id := e.Run(t, "--name", "after", image, "sleep", "600")
		machine.Until(t, "known", func() bool { return c.Lookup(id) != nil })
		if got := c.Lookup(before); got == nil || got.Name != "shop_db_1" {
			t.Errorf("forgotten: %+v", got)
		}
		if got := c.ByAddress(addr(e.IP(t, id, "bridge")), time.Now().UnixNano()); got != nil && got.ID != id {
			t.Errorf("the address of a container stopped by the restart: %+v", got)
		}
	})
	if s := c.Stats(); s.BadEvents != 0 {
		t.Errorf("%+v", s)
	}
}

func cgroupToContainer(t *testing.T, e *dockerd.Engine, c *docker.Client, id string) {
	e.PID(t, id) // it runs
	table := cgroup.New(cgroup.Config{})
	if err := table.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := container.New(table, container.Fixed{c})
	mounts, err := cgroup.Find("/proc", "memory")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range mounts {
		for _, dir := range []string{"/docker/" + id, "/system.slice/docker-" + id + ".scope"} {
			fi, err := os.Stat(m.Dir + dir)
			if err != nil {
				continue
			}
			var v2, v1 uint64
			if m.Hierarchy == cgroup.Unified {
				v2 = inodeOf(fi)
			} else {
				v1 = inodeOf(fi)
			}
			found++
			if got, pending := r.Lookup(v2, v1); got == nil || got.Name != "shop_db_1" || pending {
				t.Errorf("%s: %+v, pending %v", m.Dir+dir, got, pending)
			}
		}
	}
	if found == 0 {
		t.Error("the container has no control group where one was expected")
	}
}

// H3: the next container gets the address of the one before.
func addressReused(t *testing.T, e *dockerd.Engine, c *docker.Client, image string) {
	e.Network(t, "small", "--subnet", "10.251.9.0/29")
	run := func(name string) (string, flows.Addr) {
		id := e.Run(t, "--network", "small", "--ip", "10.251.9.4", "--name", name, image, "sleep", "600")
		return id, addr(e.IP(t, id, "small"))
	}
	has := func(id string, a flows.Addr) func() bool {
		return func() bool { h := c.ByAddress(a, time.Now().UnixNano()); return h != nil && h.ID == id }
	}
	first, ip := run("first")
	machine.Until(t, "first has the address", has(first, ip))
	during := time.Now().UnixNano()
	e.Docker(t, "rm", "-f", first)
	machine.Until(t, "nobody has it", func() bool { return c.ByAddress(ip, time.Now().UnixNano()) == nil })
	second, again := run("second")
	if again != ip {
		t.Fatalf("the engine gave %s, not %s", again, ip)
	}
	machine.Until(t, "second has it", has(second, ip))
	if h := c.ByAddress(ip, during); h == nil || h.ID != first || h.Name != "first" {
		t.Errorf("an old flow would go to %+v", h)
	}
	if h := c.ByAddress(ip, 1); h != nil {
		t.Errorf("before both: %+v", h)
	}
}

func TestSocketMissing(t *testing.T) { // H9
	c := follow(t, docker.Config{Host: "/nonexistent/docker.sock"})
	machine.Until(t, "retried", func() bool { return c.Stats().Failures >= 3 })
	if s := c.Status(); s.Connected || !strings.Contains(s.Error, "no such file") {
		t.Errorf("%+v", s)
	}
	if c.Lookup(strings.Repeat("a", 64)) != nil {
		t.Error("invented a container")
	}
}
