package container

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/kprobes"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
)

type names map[string]*correlate.Container

func (n names) Lookup(id string) *correlate.Container { return n[id] }

func groups(paths map[uint64]string) *cgroup.Table {
	t := cgroup.New(cgroup.Config{})
	for id, p := range paths {
		// ids below 100 are v2
		t.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Unified: id < 100, Path: []byte(p)})
	}
	return t
}

func TestLookup(t *testing.T) {
	engine := names{idA: {ID: idA, Name: "web"}}
	r := New(groups(map[uint64]string{
		1: "/", 2: "/docker/" + idA, 3: "/docker/" + idB, 4: "/lxc.payload.box", 5: "/system.slice/ssh.service",
		6:   "/user.slice/user-1000.slice/user@1000.service/docker/" + idA,
		101: "/docker/" + idA, 102: "/system.slice/cron.service",
	}), engine)
	for _, c := range []struct {
		what     string
		v2, v1   uint64
		id, name string
		pending  bool
	}{
		{"v2", 2, 0, idA, "web", false},
		{"v1 only", 0, 101, idA, "web", false},
		{"hybrid with the v2 root", 1, 101, idA, "web", false},
		{"hybrid with both", 2, 101, idA, "web", false},
		{"v2 not known, v1 is", 77, 101, idA, "web", false},
		{"no name yet", 3, 0, idB, "", true},
		{"named by its path", 4, 0, "box", "box", false},
		{"a user pretends", 6, 0, idA, "", false},
		{"on the host", 5, 102, "", "", false},
		{"not known yet", 88, 0, "", "", true},
		{"nothing", 0, 0, "", "", false},
	} {
		got, pending := r.Lookup(c.v2, c.v1)
		if pending != c.pending || (got == nil) != (c.id == "") || got != nil && (got.ID != c.id || got.Name != c.name) {
			t.Errorf("%s: %+v, pending %v", c.what, got, pending)
		}
	}
	// the name comes later
	engine[idB] = &correlate.Container{ID: idB, Name: "late"}
	if c, pending := r.Lookup(3, 0); c.Name != "late" || pending {
		t.Errorf("%+v, pending %v", c, pending)
	}
}

func TestPatienceEnds(t *testing.T) {
	r := New(groups(map[uint64]string{3: "/docker/" + idB}), names{})
	r.Tick(1)
	first, _ := r.Lookup(3, 0)
	r.Lookup(88, 0)
	r.Tick(1 + int64(patience))
	again, pending := r.Lookup(3, 0)
	if pending || again != first {
		t.Errorf("%+v, pending %v", again, pending)
	}
	if _, pending := r.Lookup(88, 0); pending {
		t.Error("still waits for a group nobody announces")
	}
}

func TestUnit(t *testing.T) {
	r := New(groups(map[uint64]string{1: "/", 5: "/system.slice/ssh.service", 102: "/system.slice/cron.service"}))
	for _, c := range []struct {
		v2, v1 uint64
		unit   string
		known  bool
	}{{5, 0, "ssh.service", true}, {1, 102, "cron.service", true}, {1, 0, "", true}, {88, 0, "", false}, {0, 0, "", true}} {
		if unit, known := r.Unit(c.v2, c.v1); unit != c.unit || known != c.known {
			t.Errorf("%d, %d: %q, %v", c.v2, c.v1, unit, known)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	r := New(groups(map[uint64]string{2: "/docker/" + idA, 3: "/docker/" + idB}), names{idA: {ID: idA, Name: "web"}})
	r.Lookup(3, 0)
	r.Lookup(88, 0)
	if n := testing.AllocsPerRun(100, func() { r.Lookup(2, 0); r.Lookup(3, 0); r.Lookup(88, 0); r.Tick(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
