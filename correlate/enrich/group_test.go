package enrich

import (
	"testing"

	"github.com/weir-probe/weir/correlate"
)

// A group has the name, and the kind, that the ends of its processes have.
func TestGroup(t *testing.T) {
	c, err := New(Config{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		ct   *correlate.Container
		unit string
		name string // "": none
		kind correlate.Kind
	}{
		{&correlate.Container{ID: "1", Name: "web-1", Project: "shop", Service: "web"}, "", "shop/web", correlate.KindContainer},
		{&correlate.Container{ID: "2", Name: "box"}, "x.service", "box", correlate.KindContainer},
		{&correlate.Container{ID: "3", Pod: correlate.Pod{UID: "u", Namespace: "prod", Name: "api-1", Workload: "api"}}, "", "prod/api", correlate.KindPod},
		{nil, "nginx.service", "nginx", correlate.KindProcess},
		{nil, "session-3.scope", "", 0},
		{nil, "", "", 0},
	} {
		e := correlate.Endpoint{Name: "left over", Process: &correlate.Process{}}
		ok := c.Group(&e, x.ct, x.unit)
		if ok != (x.name != "") || ok && (e.Name != x.name || e.Kind != x.kind || e.Contain != x.ct || e.Process != nil) {
			t.Errorf("%+v %q: %v, %+v", x.ct, x.unit, ok, e)
		}
	}
}

// networks are names of namespaces.
type networks map[uint32]string

func (n networks) Name(inode uint32) string { return n[inode] }

type groupOf map[uint64]*correlate.Container

func (g groupOf) Lookup(v2, _ uint64) (*correlate.Container, bool) { return g[v2], false }

// Packets are lost by who has the socket, else by who has the namespace.
func TestLoser(t *testing.T) {
	const host, box, lab, blue, pod = 1, 2, 3, 4, 5
	web, db := &correlate.Container{ID: "1", Name: "web"}, &correlate.Container{ID: "2", Name: "db"}
	c, err := New(Config{Hostname: "h", HostNetNS: host, Containers: groupOf{10: web},
		Networks: networks{host: "root", box: "box", blue: "blue", pod: "cni-0b4a2f6c-7C1e-4f0a-9b1d-2f6a7c1e4f0a"}})
	if err != nil {
		t.Fatal(err)
	}
	c.spaces.learn(box, db, 1)
	for _, x := range []struct {
		v2    uint64
		unit  string
		netns uint32
		kind  correlate.Kind
		name  string
	}{
		{10, "", host, correlate.KindContainer, "web"},
		{10, "", box, correlate.KindContainer, "web"},
		{11, "nginx.service", host, correlate.KindProcess, "nginx"},
		{11, "nginx.service", box, correlate.KindProcess, "nginx"},
		{0, "", box, correlate.KindContainer, "db"},
		{11, "session-3.scope", box, correlate.KindContainer, "db"},
		{11, "session-3.scope", host, correlate.KindHost, "h"},
		{0, "", 0, correlate.KindHost, "h"},
		{0, "", lab, correlate.KindUnknown, ""},
		{0, "", blue, correlate.KindUnknown, "blue"},
		{11, "session-3.scope", blue, correlate.KindUnknown, "blue"},
		{0, "", pod, correlate.KindUnknown, ""}, // a runtime's
	} {
		e := correlate.Endpoint{Name: "left over"}
		if c.Loser(&e, x.v2, 0, x.unit, x.netns); e.Kind != x.kind || e.Name != x.name {
			t.Errorf("%+v: %+v", x, e)
		}
	}
}
