package open

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
)

func ids(l *List) (all []uint64) {
	for i := range l.Len() {
		all = append(all, l.At(i).ID)
	}
	return all
}

func TestListKeepsOrder(t *testing.T) {
	var l List
	var want []uint64
	// Longer than the ring grows to, around its end, with removals anywhere.
	for id := range uint64(500) {
		if !l.Push(Request{ID: id}) {
			t.Fatalf("no room for %d", id)
		}
		want = append(want, id)
		if id%3 != 0 {
			i := int(id*7) % l.Len()
			if got := l.Find(want[i]); got != i {
				t.Fatalf("Find(%d) = %d, want %d", want[i], got, i)
			}
			l.Remove(i)
			want = slices.Delete(want, i, i+1)
		}
		if got := ids(&l); !slices.Equal(got, want) {
			t.Fatalf("after %d: %v, want %v", id, got, want)
		}
	}
	if l.Find(1000) != -1 {
		t.Error("found what is not there")
	}
}

// TestSize holds what the parsers say a connection keeps.
func TestSize(t *testing.T) {
	if size := unsafe.Sizeof(Request{}); size > 64 {
		t.Errorf("a request has %d octets, more than 64", size)
	}
}

func TestOverlap(t *testing.T) {
	var l List
	l.Push(Request{ID: 1})
	if l.At(0).Overlapped {
		t.Error("one alone is overlapped")
	}
	l.Push(Request{ID: 2})
	l.Push(Request{ID: 3})
	for i := range 3 {
		if !l.At(i).Overlapped {
			t.Errorf("the %d. of three is not overlapped", i+1)
		}
	}
	l.Remove(0)
	l.Remove(0)
	l.Remove(0)
	if l.Push(Request{ID: 4}); l.At(0).Overlapped {
		t.Error("one alone again is overlapped")
	}
}

func TestInOrderWithoutRoom(t *testing.T) {
	var l List
	for id := range uint64(MaxRequests + 3) {
		if got := l.PushInOrder(Request{ID: id}); got != (id < MaxRequests) {
			t.Fatalf("room for %d: %v", id, got)
		}
	}
	l.Remove(0)
	if l.PushInOrder(Request{ID: 9999}) {
		t.Error("a request gets in before the answers of those without room")
	}
	for l.Len() > 0 {
		l.Remove(0)
	}
	for i := range 4 {
		if !l.Passed() {
			t.Errorf("the %d. answer of a request without room is not known as one", i+1)
		}
	}
	if l.Passed() {
		t.Error("an answer too many is explained")
	}
	if !l.PushInOrder(Request{ID: 1}) {
		t.Error("no room in an empty list")
	}
}

func TestTell(t *testing.T) {
	var m l7.Message
	teller := NewTeller(l7.Redis, func(told *l7.Message) { m = *told })
	long := string(make([]byte, 300))
	teller.Tell(&Request{Operation: long, First: 1, Last: 2, Octets: 3, Streaming: true}, l7.Answered, Answer{Status: long, Failed: true, First: 4, Last: 5, Octets: 6})
	if len(m.Operation) != l7.MaxOperation || len(m.Status) != l7.MaxStatus {
		t.Errorf("%d octets of operation, %d of status", len(m.Operation), len(m.Status))
	}
	if m.Protocol != l7.Redis || m.Outcome != l7.Answered || !m.Failed || !m.Streaming || m.RequestFirst != 1 || m.RequestLast != 2 ||
		m.RequestOctets != 3 || m.ResponseFirst != 4 || m.ResponseLast != 5 || m.ResponseOctets != 6 {
		t.Errorf("told %+v", m)
	}
	teller.Tell(&Request{Operation: Other, Unknown: true}, l7.Answered, Answer{Status: "OK", Failed: true})
	if m.Outcome != l7.Lost || len(m.Status) != 0 || m.Failed {
		t.Errorf("an unknown request is told as %+v", m)
	}
}

// says is what a place is told: by whom, whether at a turn, how much later (ns), how
// many requests are open then; and the step it takes, and whether that is in doubt.
type says struct {
	dir   l7.Dir
	turn  bool
	after int64
	open  int
	step  Step
	doubt bool
}

func TestPlace(t *testing.T) {
	const server, client = l7.ToClient, l7.ToServer
	for name, c := range map[string]struct {
		before, after []says
		lose          l7.Dir
		patient       bool
	}{
		"nothing is lost":     {before: []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}, {client, true, 1, 0, Go, false}}, lose: 9},
		"begun by the server": {before: []says{{server, true, 1, 0, Restart, false}, {client, true, 1, 0, Restart, true}, {server, true, 1, 0, Go, true}}, lose: 9},
		"an answer, then silence": {
			before: []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}}, lose: server,
			after: []says{{server, false, 1, 1, Skip, false}, {client, true, Quiet, 1, Reopen, false}, {server, true, 1, 0, Restart, false}},
		},
		"an answer, without silence": {
			before: []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}}, lose: server,
			after: []says{{client, false, 1, 1, Go, false}, {client, true, 1, 1, Reopen, true}, {server, true, 1, 0, Restart, true}},
		},
		"a doubt that silence ends": {
			before: []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}}, lose: server,
			after: []says{{client, true, 1, 1, Reopen, true}, {server, true, 1, 1, Restart, true}, {client, true, 1, 0, Go, true},
				{server, true, 1, 1, Go, true}, {client, true, Quiet, 1, Reopen, false}},
		},
		"a client that interleaves": {
			before: []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}, {client, true, 1, 1, Go, false}}, lose: server,
			after: []says{{client, true, 1, 2, Go, false}, {server, true, 1, 2, Skip, false}, {client, true, Quiet, 2, Reopen, false}, {server, true, 1, 1, Restart, false}},
		},
		"a large answer in a protocol of waiting clients": {
			before:  []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}},
			lose:    server,
			after:   []says{{client, true, 1, 0, Reopen, false}, {server, true, 1, 1, Restart, false}},
			patient: true,
		},
		"one whose request was swallowed, too": {
			before:  []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}},
			lose:    server,
			after:   []says{{client, true, 1, 1, Reopen, true}, {server, true, 1, 1, Restart, true}, {client, true, 1, 0, Go, false}},
			patient: true,
		},
		"a client that does not wait after all": {
			before:  []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}, {client, true, 1, 1, Go, false}},
			lose:    server,
			after:   []says{{client, true, 1, 0, Go, false}, {server, true, 1, 2, Skip, false}, {client, true, Quiet, 0, Reopen, false}},
			patient: true,
		},
		"a request": {
			before: []says{{client, true, 1, 0, Restart, false}, {server, true, 1, 1, Restart, false}}, lose: client,
			after: []says{{client, false, 1, 1, Skip, false}, {server, true, 1, 1, Go, false}, {client, true, Quiet, 0, Restart, false}, {server, true, 1, 1, Go, false}},
		},
	} {
		p := Place{Patient: c.patient}
		now := int64(1)
		play := func(all []says) {
			for i, s := range all {
				now += s.after
				step := p.Chunk(&l7.Chunk{Dir: s.dir, Turn: s.turn, Time: now}, s.open)
				if step != s.step || p.Doubt() != s.doubt {
					t.Errorf("%s, %d. of %d: step %d, doubt %v; want %d, %v", name, i+1, len(all), step, p.Doubt(), s.step, s.doubt)
				}
			}
		}
		play(c.before)
		if c.lose != 9 {
			p.Lose(c.lose)
		}
		play(c.after)
	}
}

func TestNames(t *testing.T) {
	var n Names
	if s, ok := n.Intern([]byte("a"), 0); ok {
		t.Errorf("%q has room where there is none", s)
	}
	b := []byte("a")
	for _, name := range []string{"a", "b", "a", "b"} {
		b[0] = name[0]
		if s, ok := n.Intern(b, 2); !ok || s != name {
			t.Errorf("%s: %q %v", name, s, ok)
		}
	}
	if s, ok := n.Intern([]byte("c"), 2); ok || len(n) != 2 || n.Octets() != 2*NameOctets {
		t.Errorf("a third is %q; %d are kept", s, len(n))
	}
	if allocs := testing.AllocsPerRun(100, func() { n.Intern(b, 2) }); allocs != 0 {
		t.Errorf("%v allocations for one that is known", allocs)
	}
}
