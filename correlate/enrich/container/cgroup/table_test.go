package cgroup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

func created(id uint64, unified bool, path string, at int64) *kprobes.CgroupEvent {
	return &kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Unified: unified, Path: []byte(path), Time: at}
}

func removed(id uint64, unified bool, at int64) *kprobes.CgroupEvent {
	return &kprobes.CgroupEvent{Kind: kprobes.CgroupRemoved, ID: id, Unified: unified, Time: at}
}

func TestTableEvents(t *testing.T) {
	tab := New(Config{Grace: time.Second})
	tab.Cgroup(created(7, true, "/docker/"+idA, 1))
	tab.Cgroup(created(7, false, "/docker/"+idB, 1))
	if g := tab.Lookup(Unified, 7); g == nil || g.ID != idA {
		t.Errorf("v2 7: %+v", g)
	}
	if g := tab.Lookup(Legacy, 7); g == nil || g.ID != idB {
		t.Errorf("v1 7: %+v", g)
	}
	tab.Cgroup(removed(7, true, 10))
	tab.Tick(10)
	if tab.Lookup(Unified, 7) == nil {
		t.Error("forgotten inside the grace time")
	}
	// the id lives again: the old removal must not take the new group with it
	tab.Cgroup(created(7, true, "/docker/"+idB, 20))
	tab.Tick(10 + int64(time.Second))
	if g := tab.Lookup(Unified, 7); g == nil || g.ID != idB {
		t.Errorf("reused id: %+v", g)
	}
	tab.Cgroup(removed(7, true, 30))
	tab.Tick(30 + int64(time.Second))
	if g := tab.Lookup(Unified, 7); g != nil {
		t.Errorf("still known after the grace time: %+v", g)
	}
	if s := tab.Stats(); s.Created != 3 || s.Removed != 2 || s.Unknown != 1 || s.Groups != 1 {
		t.Errorf("%+v", s)
	}
}

// A path that was cut must not name the wrong container; the walk completes it.
func TestTruncatedPath(t *testing.T) {
	long := "/" + strings.Repeat("n", 255) + "/" + strings.Repeat("m", 240)
	for _, c := range []struct{ full, cut, id, unit string }{
		{long + "/lxc.payload.database", long + "/lxc.payload.dat", "", ""},
		{long + "/a.service.d/x", long + "/a.service", "", ""},
		{"/lxc.payload.web" + long + "/lxc.payload.database", "/lxc.payload.web" + long + "/lxc.pay", "web", ""},
		{"/docker/" + idA + long + "/x", "/docker/" + idA + long, idA, ""},
		{"nothing", "noth", "", ""},
	} {
		tab := New(Config{})
		ev := created(7, true, c.cut, 1)
		ev.Truncated = true
		tab.Cgroup(ev)
		if g := tab.Lookup(Unified, 7); g.ID != c.id || g.Unit != c.unit {
			t.Errorf("%s: %+v", c.cut, g.Identity)
		}
		tab.take(walkResult{asked: 2, groups: []found{{key{7, Unified}, c.full}}})
		want := Parse(c.full)
		if g := tab.Lookup(Unified, 7); g.Identity != want {
			t.Errorf("%s after the walk: %+v", c.cut, g.Identity)
		}
		tab.Cgroup(ev)
		if g := tab.Lookup(Unified, 7); g.Identity != want {
			t.Errorf("%s: forgot what the walk told: %+v", c.cut, g.Identity)
		}
		if s := tab.Stats(); s.Truncated != 2 || !tab.missed {
			t.Errorf("%s: %+v", c.cut, s)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	tab := New(Config{MaxGroups: 3})
	for i := range uint64(3) {
		tab.Cgroup(created(i+1, true, fmt.Sprint("/g", i), 1))
	}
	tab.Cgroup(created(9, true, "/refused", 2))
	if tab.Lookup(Unified, 9) != nil || tab.Stats().Refused != 1 {
		t.Errorf("full table took another: %+v", tab.Stats())
	}
	tab.Cgroup(removed(2, true, 3))
	tab.Cgroup(created(9, true, "/taken", 4))
	if tab.Lookup(Unified, 9) == nil || tab.Lookup(Unified, 2) != nil || tab.Stats().Evicted != 1 {
		t.Errorf("the removed one must make room: %+v", tab.Stats())
	}
}

func TestWalkFindsWhatEventsMissed(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "docker", idA)
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := inode(sub)
	if err != nil {
		t.Fatal(err)
	}
	tab := New(Config{Mounts: []Mount{{Hierarchy: Unified, Dir: dir, View: Whole}}, Rewalk: time.Second})
	if err := tab.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g := tab.Lookup(Unified, id); g == nil || g.Path != "/docker/"+idA {
		t.Fatalf("bootstrap: %+v", g)
	}
	// one more appears and one goes, both without an event
	late := filepath.Join(dir, "docker", idB)
	if err := os.Mkdir(late, 0o755); err != nil {
		t.Fatal(err)
	}
	lateID, _ := inode(late)
	if err := os.Remove(sub); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tab.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if tab.Lookup(Unified, lateID) != nil {
		t.Fatal("known before it was walked")
	}
	now := int64(time.Hour)
	for deadline := time.Now().Add(10 * time.Second); tab.Lookup(Unified, lateID) == nil; now += int64(time.Second) {
		if time.Now().After(deadline) {
			t.Fatal("never found")
		}
		tab.Tick(now)
		time.Sleep(time.Millisecond)
	}
	if tab.Stats().Vanished != 1 {
		t.Errorf("the removed group is still taken for alive: %+v", tab.Stats())
	}
	tab.Tick(now + int64(time.Hour))
	if tab.Lookup(Unified, id) != nil {
		t.Error("the removed group is never forgotten")
	}
}

func TestBootstrapSaysWhatIsMissing(t *testing.T) {
	tab := New(Config{Mounts: []Mount{{Hierarchy: Unified, Dir: "/nonexistent", View: Whole}}})
	if err := tab.Bootstrap(t.Context()); err == nil || tab.Stats().WalkErrors != 1 {
		t.Errorf("err %v, %+v", err, tab.Stats())
	}
}

func TestBootstrapRealHierarchies(t *testing.T) {
	tab := New(Config{})
	if err := tab.Bootstrap(t.Context()); err != nil {
		t.Skip(err)
	}
	if len(tab.entries) == 0 {
		t.Skip("no control groups mounted here")
	}
	mounts, err := Find("/proc", "memory")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		id, err := inode(m.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if g := tab.Lookup(m.Hierarchy, id); g == nil || g.Path != m.Prefix+"/" && m.Prefix == "" {
			t.Errorf("root of %v: %+v", m, g)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	tab := New(Config{})
	tab.Cgroup(created(7, true, "/docker/"+idA, 1))
	if n := testing.AllocsPerRun(100, func() { tab.Lookup(Unified, 7); tab.Lookup(Legacy, 8); tab.Tick(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (Config{Grace: -1}).Validate() == nil {
		t.Error("negative grace accepted")
	}
}
