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
func (n names) Makes(cgroup.Runtime) bool             { return true }
func (n names) Pod(uid string) *correlate.Container   { return n[uid] }

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
	}), Fixed{engine})
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

// counting counts how often it was asked.
type counting struct {
	names
	asked map[string]int
}

func (c counting) Lookup(id string) *correlate.Container {
	c.asked[id]++
	return c.names[id]
}

func TestPods(t *testing.T) {
	const uid, static = "c9a5ab0e-1f7d-4d5b-9c8f-2d6c0a1b2c3d", "202e73fe2f6f1fcdfba87c4503ed827e"
	pod := correlate.Pod{UID: uid, Namespace: "shop", Name: "api-0", Workload: "api"}
	engine := counting{names{
		idA: {ID: idA, Name: "main", Pod: pod}, uid: {ID: "box", Sandbox: true, Pod: pod},
	}, map[string]int{}}
	r := New(cgroup.New(cgroup.Config{}), Fixed{engine})
	for id, p := range map[uint64]string{
		1: "/kubepods/burstable/pod" + uid + "/" + idA,
		2: "/kubepods/burstable/pod" + uid + "/" + idB,
		3: "/kubepods/besteffort/pod" + static + "/" + idB[1:] + "c",
		4: "/user.slice/user-1000.slice/user@1000.service/kubepods/pod" + uid + "/" + idB,
	} {
		r.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Unified: true, Path: []byte(p)})
	}
	if engine.asked[idB] != 1 {
		t.Errorf("a newborn container was looked up %d times", engine.asked[idB])
	}
	for _, c := range []struct {
		what              string
		id                uint64
		display           string
		kind              correlate.Kind
		container, podUID string
		pending           bool
	}{
		{"known", 1, "shop/api", correlate.KindPod, "main", uid, false},
		{"container not known, pod is", 2, "shop/api", correlate.KindPod, "", uid, true},
		{"static pod nobody knows", 3, "pod", correlate.KindPod, "", static, true},
		{"a user pretends to be a pod", 4, "container", correlate.KindContainer, "", "", false},
	} {
		got, pending := r.Lookup(c.id, 0)
		if got == nil || got.DisplayName() != c.display || got.Kind() != c.kind || got.Name != c.container || got.Pod.UID != c.podUID || pending != c.pending {
			t.Errorf("%s: %+v, pending %v", c.what, got, pending)
		}
	}
	// the pod is told of later
	before, _ := r.Lookup(3, 0)
	engine.names[static] = &correlate.Container{Sandbox: true, Pod: correlate.Pod{UID: static, Namespace: "kube-system", Name: "etcd", Workload: "etcd"}}
	if after, _ := r.Lookup(3, 0); after.DisplayName() != "kube-system/etcd" || before.DisplayName() != "pod" {
		t.Errorf("%+v", after)
	}
}

func TestPatienceEnds(t *testing.T) {
	r := New(groups(map[uint64]string{3: "/docker/" + idB}), Fixed{names{}})
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
	r := New(groups(map[uint64]string{1: "/", 5: "/system.slice/ssh.service", 102: "/system.slice/cron.service"}), Fixed{})
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
	r := New(groups(map[uint64]string{2: "/docker/" + idA, 3: "/docker/" + idB}), Fixed{names{idA: {ID: idA, Name: "web"}}})
	r.Lookup(3, 0)
	r.Lookup(88, 0)
	if n := testing.AllocsPerRun(100, func() { r.Lookup(2, 0); r.Lookup(3, 0); r.Lookup(88, 0); r.Tick(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
