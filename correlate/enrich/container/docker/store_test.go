package docker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

func id(n int) string { return fmt.Sprintf("%064x", n) }

func named(n int, name string) *correlate.Container {
	return &correlate.Container{ID: id(n), Name: name}
}

func ip(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

func at(network, addr string) []attachment { return []attachment{{network, ip(addr)}} }

func running(n int, name, network, addr string) details {
	return details{container: named(n, name), running: true, addresses: at(network, addr)}
}

func TestLeases(t *testing.T) {
	s := newStore(time.Minute, 100)
	a := ip("172.17.0.2")
	s.start(named(1, "one"), 10)
	s.refine(running(1, "one", "bridge", "172.17.0.2"), 10)
	s.stop(named(1, "one"), 20)
	s.start(named(2, "two"), 30)
	s.refine(running(2, "two", "bridge", "172.17.0.2"), 30)
	for when, want := range map[int64]string{9: "", 10: "one", 19: "one", 20: "", 29: "", 30: "two", 1000: "two"} {
		got := ""
		if c := s.at(a, when); c != nil {
			got = c.Name
		}
		if got != want {
			t.Errorf("at %d: %q, want %q", when, got, want)
		}
	}
	// without the event of the first one's end, the second one's start ends it
	s.start(named(3, "three"), 40)
	s.refine(running(3, "three", "bridge", "172.17.0.2"), 40)
	if c := s.at(a, 50); c == nil || c.Name != "three" {
		t.Errorf("%+v", c)
	}
	// the same address in another network: nobody can tell
	s.start(named(4, "four"), 60)
	s.refine(running(4, "four", "other", "172.17.0.2"), 60)
	if c := s.at(a, 70); c != nil {
		t.Errorf("two have it, but %+v", c)
	}
}

func TestAnswersThatComeLate(t *testing.T) {
	s := newStore(time.Minute, 100)
	a := ip("172.17.0.2")
	s.start(named(1, "one"), 10)
	s.stop(named(1, "one"), 20)
	s.refine(running(1, "one", "bridge", "172.17.0.2"), 10)
	if s.at(a, 15) == nil || s.at(a, 25) != nil {
		t.Error("an answer from before the stop must count until the stop")
	}
	s.remove(id(1), 30)
	s.refine(running(1, "one", "bridge", "172.17.0.2"), 10)
	s.expire(30 + int64(time.Minute))
	if s.get(id(1)) != nil || s.at(a, 15) != nil || len(s.leases) != 0 || len(s.held) != 0 {
		t.Error("an answer brought a removed container back")
	}
}

func TestReplace(t *testing.T) {
	s := newStore(time.Minute, 100)
	s.put(named(1, "gone"), 5)
	s.put(named(2, "stays"), 5)
	s.put(named(3, "born meanwhile"), 50)
	kept := s.get(id(2))
	s.replace([]details{running(2, "stays", "bridge", "172.17.0.2")}, 40)
	if s.get(id(2)) != kept {
		t.Error("what did not change must stay the same pointer")
	}
	s.expire(40 + int64(time.Minute))
	if s.get(id(1)) != nil || s.get(id(2)) == nil || s.get(id(3)) == nil {
		t.Error("wrong ones forgotten")
	}
}

func TestStoreIsBounded(t *testing.T) {
	s := newStore(time.Minute, 3)
	for n := range 5 {
		s.put(named(n, "x"), 1)
	}
	s.remove(id(0), 2)
	s.put(named(7, "x"), 3)
	if n, evicted, refused := s.len(); n != 3 || evicted != 1 || refused != 2 || s.get(id(7)) == nil {
		t.Errorf("%d containers, %d evicted, %d refused", n, evicted, refused)
	}
	for n := range 3 * maxLeases {
		s.attachOne(7, ip("10.0.0.1"), int64(n))
	}
	if l := len(s.leases[ip("10.0.0.1")]); l > maxLeases {
		t.Errorf("%d leases of one address", l)
	}
}

// attachOne gives the address to the container and takes it again.
func (s *store) attachOne(n int, a flows.Addr, when int64) {
	s.refine(details{container: named(n, "x"), running: true, addresses: []attachment{{"n", a}}}, when)
	s.detach(id(n), "n", when)
}

func TestLookupsDoNotAllocate(t *testing.T) {
	s := newStore(time.Minute, 3)
	s.put(named(1, "x"), 1)
	s.refine(running(1, "x", "bridge", "172.17.0.2"), 1)
	key, a := id(1), ip("172.17.0.2")
	if n := testing.AllocsPerRun(100, func() { s.get(key); s.at(a, 5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOwnName(t *testing.T) {
	if got := ownName([]string{"/web/db", "/db"}); got != "/db" {
		t.Errorf("legacy link taken for the name: %s", got)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Config{{Host: "tcp://1.2.3.4:2375"}, {Host: "relative"}, {Grace: -1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Type":"container","Action":"create","Actor":{"ID":"` + id(1) + `","Attributes":{"name":"n","image":"i"}},"timeNano":5}`))
	f.Add([]byte(`{"Type":"network","Action":"connect","Actor":{"ID":"x","Attributes":{"container":"` + id(1) + `"}}}`))
	f.Add([]byte(`[{"Id":"` + id(1) + `","Names":["/a"],"NetworkSettings":{"Networks":{"b":{"IPAddress":"1.2.3.4"}}}}]`))
	f.Add([]byte(`{"Id":"` + id(1) + `","Config":{"Labels":{"com.docker.compose.project":"p"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(Config{})
		inspects := make(chan inspection, 1)
		if e, err := decodeEvent(b); err == nil {
			c.apply(&e, inspects)
		}
		if list, err := decodeList(b); err == nil {
			c.store.replace(list, 10)
		}
		if d, err := decodeInspect(b); err == nil {
			c.store.put(d.container, 1)
			c.store.refine(d, 5)
		}
		for key, r := range c.store.containers {
			if !isID(key) || len(r.container.Name) > maxName || len(r.container.Image) > maxImage {
				t.Fatalf("%q: kept %+v", b, r.container)
			}
		}
		select {
		case i := <-inspects:
			if !isID(i.id) || strings.Contains(i.id, "/") {
				t.Fatalf("%q: would ask for %q", b, i.id)
			}
		default:
		}
	})
}
