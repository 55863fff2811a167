package engine

import (
	"fmt"
	"net/netip"
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

func at(network, addr string) []Attachment { return []Attachment{{network, ip(addr)}} }

func running(n int, name, network, addr string) Details {
	return Details{Container: named(n, name), Running: true, Addresses: at(network, addr)}
}

func TestLeases(t *testing.T) {
	s := NewStore(time.Minute, 100)
	a := ip("172.17.0.2")
	s.Start(named(1, "one"), 10)
	s.Refine(running(1, "one", "bridge", "172.17.0.2"), 10)
	s.Stop(named(1, "one"), 20)
	s.Start(named(2, "two"), 30)
	s.Refine(running(2, "two", "bridge", "172.17.0.2"), 30)
	for when, want := range map[int64]string{9: "", 10: "one", 19: "one", 20: "", 29: "", 30: "two", 1000: "two"} {
		got := ""
		if c := s.At(a, when); c != nil {
			got = c.Name
		}
		if got != want {
			t.Errorf("at %d: %q, want %q", when, got, want)
		}
	}
	// without the event of the first one's end, the second one's start ends it
	s.Start(named(3, "three"), 40)
	s.Refine(running(3, "three", "bridge", "172.17.0.2"), 40)
	if c := s.At(a, 50); c == nil || c.Name != "three" {
		t.Errorf("%+v", c)
	}
	// the same address in another network: nobody can tell
	s.Start(named(4, "four"), 60)
	s.Refine(running(4, "four", "other", "172.17.0.2"), 60)
	if c := s.At(a, 70); c != nil {
		t.Errorf("two have it, but %+v", c)
	}
}

func TestAnswersThatComeLate(t *testing.T) {
	s := NewStore(time.Minute, 100)
	a := ip("172.17.0.2")
	s.Start(named(1, "one"), 10)
	s.Stop(named(1, "one"), 20)
	s.Refine(running(1, "one", "bridge", "172.17.0.2"), 10)
	if s.At(a, 15) == nil || s.At(a, 25) != nil {
		t.Error("an answer from before the stop must count until the stop")
	}
	s.Remove(id(1), 30)
	s.Refine(running(1, "one", "bridge", "172.17.0.2"), 10)
	s.Expire(30 + int64(time.Minute))
	if s.Get(id(1)) != nil || s.At(a, 15) != nil || len(s.leases) != 0 || len(s.held) != 0 {
		t.Error("an answer brought a removed container back")
	}
}

func TestReplace(t *testing.T) {
	s := NewStore(time.Minute, 100)
	s.Put(named(1, "gone"), 5)
	s.Put(named(2, "stays"), 5)
	s.Put(named(3, "born meanwhile"), 50)
	kept := s.Get(id(2))
	s.Replace([]Details{running(2, "stays", "bridge", "172.17.0.2")}, 40)
	if s.Get(id(2)) != kept {
		t.Error("what did not change must stay the same pointer")
	}
	s.Expire(40 + int64(time.Minute))
	if s.Get(id(1)) != nil || s.Get(id(2)) == nil || s.Get(id(3)) == nil {
		t.Error("wrong ones forgotten")
	}
}

func TestStoreIsBounded(t *testing.T) {
	s := NewStore(time.Minute, 3)
	for n := range 5 {
		s.Put(named(n, "x"), 1)
	}
	s.Remove(id(0), 2)
	s.Put(named(7, "x"), 3)
	if n, evicted, refused := s.Len(); n != 3 || evicted != 1 || refused != 2 || s.Get(id(7)) == nil {
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
func (s *Store) attachOne(n int, a flows.Addr, when int64) {
	s.Refine(Details{Container: named(n, "x"), Running: true, Addresses: []Attachment{{"n", a}}}, when)
	s.Detach(id(n), "n", when)
}

func TestLookupsDoNotAllocate(t *testing.T) {
	s := NewStore(time.Minute, 3)
	s.Put(named(1, "x"), 1)
	s.Refine(running(1, "x", "bridge", "172.17.0.2"), 1)
	key, a := id(1), ip("172.17.0.2")
	if n := testing.AllocsPerRun(100, func() { s.Get(key); s.At(a, 5) }); n != 0 {
		t.Errorf("%v allocations", n)
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
