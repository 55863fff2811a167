package enrich

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// An address means a container where the host's networks are, and somebody else
// in a namespace with networks of its own.
func TestCaseC2_AddressBelongsToItsNamespace(t *testing.T) {
	const host, box, lab = 1, 2, 3
	c := chain(t)
	c.spaces.host = host
	see := func(ns uint32, a string) (*correlate.Endpoint, bool) {
		e := &correlate.Endpoint{Addr: addr(a), SeenNS: ns}
		pending := c.Enrich(e, nil, nil, 2)
		return e, pending
	}
	for _, ns := range []uint32{0, host} {
		if e, pending := see(ns, "172.17.0.2"); e.Name != "shop/web" || pending {
			t.Errorf("in namespace %d: %+v, pending %v", ns, e, pending)
		}
	}
	if e, pending := see(lab, "172.17.0.2"); e.Kind != correlate.KindExternal || e.Contain != nil || !pending {
		t.Errorf("in a lab of its own: %+v, pending %v", e, pending)
	}
	if e, _ := see(box, "127.0.0.1"); e.Kind != correlate.KindHost {
		t.Errorf("loopback of a namespace not known: %+v", e)
	}
	// a container is seen in box: its networks are the engine's, its loopback its own
	c.Enrich(&correlate.Endpoint{NetNS: box}, owner(11, "curl", 2), nil, 2)
	for _, a := range []string{"172.17.0.2", "127.0.0.1"} {
		if e, pending := see(box, a); e.Name != "shop/web" || e.Contain == nil || pending {
			t.Errorf("%s in a container's namespace: %+v, pending %v", a, e, pending)
		}
	}
	// another container shares it: whose loopback is not said
	c.Enrich(&correlate.Endpoint{NetNS: box}, owner(11, "curl", 3), nil, 3)
	if e, _ := see(box, "127.0.0.1"); e.Contain != nil {
		t.Errorf("loopback of a shared namespace: %+v", e)
	}
	// much later the inode is another container's
	later := int64(2 * time.Minute)
	c.Enrich(&correlate.Endpoint{NetNS: box}, owner(11, "curl", 2), nil, later)
	if e, _ := see(box, "127.0.0.1"); e.Name != "shop/web" {
		t.Errorf("after the inode was used again: %+v", e)
	}
	if s := c.Stats(); s.OtherNetwork != 1 {
		t.Errorf("%+v", s)
	}
}

func TestSpacesAreBounded(t *testing.T) {
	s := spaces{host: 1, of: map[uint32]space{}}
	web := &correlate.Container{ID: idWeb}
	for ns := range uint32(3 * maxSpaces) {
		s.learn(ns, web, 1)
	}
	if len(s.of) > maxSpaces {
		t.Errorf("%d namespaces", len(s.of))
	}
	if n := testing.AllocsPerRun(100, func() { s.learn(3*maxSpaces-1, web, 2) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
