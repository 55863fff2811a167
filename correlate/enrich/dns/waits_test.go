package dns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

const ms = int64(time.Millisecond)

// wait wants a connection to 192.0.2.LAST begun at a time to have waited for so many ms,
// 0 not at all.
func wait(t *testing.T, table *Table, last int, began, want int64) {
	t.Helper()
	d, ok := table.Wait(addr(fmt.Sprintf("192.0.2.%d", last)), 5, began)
	if int64(d) != want*ms || ok != (want != 0) {
		t.Errorf("to .%d at %d ms: waited %v, %v, want %d ms", last, began/ms, d, ok, want)
	}
}

// answered lets socket 7 ask for a name and be answered after so many ms.
func answered(t testing.TB, table *Table, at, took int64, name string, addrs ...string) {
	t.Helper()
	table.Payload(datagram(true, at-took*ms, query(t, 1, name)))
	table.Payload(datagram(false, at, reply(t, 1, name, 60, addrs...)))
}

// A client that asks before each request: every connection of an interval has its name
// and its own wait, though all are asked for when it is over.
func TestEachLookupOfAnInterval(t *testing.T) {
	table := New(Config{})
	const n = 1000
	for i := range int64(n) {
		answered(t, table, 100*sec+10*i*ms, 1+i%8, "api.example.", "192.0.2.1", "192.0.2.2")
	}
	for i := range int64(n) {
		began := 100*sec + (10*i+1)*ms
		if got := table.Name(addr("192.0.2.1"), 5, began); got != "api.example" {
			t.Fatalf("connection %d is to %q", i, got)
		}
		wait(t, table, 1+int(i%2), began, 1+i%8)
		wait(t, table, 1+int(i%3%2), began+ms, 0) // the second one of this answer
	}
	if s := table.Stats(); s.Evicted != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWait(t *testing.T) {
	table := New(Config{})
	answered(t, table, 100*sec, 30, "a.example.", "192.0.2.1", "192.0.2.2")
	wait(t, table, 1, 100*sec-1, 0) // before it
	wait(t, table, 2, 100*sec+ms, 30)
	wait(t, table, 1, 100*sec+2*ms, 0) // of one answer one connection
	wait(t, table, 2, 100*sec+3*ms, 0)

	answered(t, table, 110*sec, 30, "a.example.", "192.0.2.1")
	wait(t, table, 1, 110*sec+useWithin+1, 0) // much later

	// Two ask at once, then both connect.
	answered(t, table, 120*sec, 10, "a.example.", "192.0.2.1")
	answered(t, table, 120*sec+ms, 20, "a.example.", "192.0.2.1")
	wait(t, table, 1, 120*sec+2*ms, 20)
	wait(t, table, 1, 120*sec+3*ms, 10)
	wait(t, table, 1, 120*sec+4*ms, 0)

	// One that is told of late had the wait before it, not the newer one.
	answered(t, table, 130*sec, 10, "a.example.", "192.0.2.1")
	answered(t, table, 131*sec, 20, "a.example.", "192.0.2.1")
	answered(t, table, 132*sec, 40, "b.example.", "192.0.2.9")
	wait(t, table, 9, 132*sec, 40)
	wait(t, table, 1, 130*sec+ms, 10)
	wait(t, table, 1, 131*sec+ms, 20)

	// Another namespace has not asked.
	answered(t, table, 140*sec, 10, "a.example.", "192.0.2.1")
	if _, ok := table.Wait(addr("192.0.2.1"), 6, 140*sec); ok {
		t.Error("another namespace waited")
	}

	// A question sent again waits since the first time.
	table.Payload(datagram(true, 150*sec, query(t, 9, "b.example.")))
	table.Payload(datagram(true, 155*sec, query(t, 9, "b.example.")))
	table.Payload(datagram(false, 156*sec, reply(t, 9, "b.example.", 60, "192.0.2.2")))
	wait(t, table, 2, 156*sec, 6000)
}

// A name that answers go on giving is the address's since the first of them; one that
// comes back after others is an answer of its own.
func TestNameGoesOn(t *testing.T) {
	table := New(Config{Stale: time.Minute})
	name := func(began int64, want string) {
		t.Helper()
		if got := table.Name(addr("192.0.2.1"), 5, began); got != want {
			t.Errorf("at %d s called %q, want %q", began/sec, got, want)
		}
	}
	ask(t, table, 100*sec, "a.example.", 600, "192.0.2.1")
	ask(t, table, 101*sec, "a.example.", 60, "192.0.2.1")
	name(99*sec, "")
	name(100*sec, "a.example")
	name(100*sec+659*sec, "a.example") // what was told first still held
	name(100*sec+661*sec, "")

	ask(t, table, 1000*sec, "a.example.", 60, "192.0.2.1") // after nothing held
	name(999*sec, "")
	name(1000*sec, "a.example")

	// Two names by turns: more changes than are kept, but never without a name.
	for i := range int64(100) {
		ask(t, table, (1010+i)*sec, []string{"a.example.", "b.example."}[i%2], 60, "192.0.2.1")
	}
	name(1109*sec, "b.example")
	name(1108*sec, "a.example")
	name(1107*sec, "b.example")
	for i := range int64(100) {
		if got := table.Name(addr("192.0.2.1"), 5, (1010+i)*sec); got == "" {
			t.Fatalf("no name %d s after the first", i)
		}
	}
	name(999*sec, "")
}

// Random answers and connections, of which some are told an interval late, have the waits
// that a list of all answers gives them.
func TestWaitsAgainstAList(t *testing.T) {
	type listed struct {
		addrs           []int
		asked, answered int64
		taken           bool
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		table := New(Config{})
		var list []listed
		at := 100 * sec
		var late []int64
		for range 8 { // intervals
			begun := late
			late = nil
			for range 20 {
				at += r.Int64N(300*ms) + 1
				if r.IntN(2) == 0 {
					begun = append(begun, at)
					continue
				}
				l := listed{asked: at - (1+r.Int64N(50))*ms, answered: at}
				var addrs []string
				for range 1 + r.IntN(3) {
					l.addrs = append(l.addrs, 1+r.IntN(4))
					addrs = append(addrs, fmt.Sprintf("192.0.2.%d", l.addrs[len(l.addrs)-1]))
				}
				list = append(list, l)
				answered(t, table, at, (at-l.asked)/ms, "a.example.", addrs...)
			}
			table.Tick(at, time.Hour)
			slices.Sort(begun)
			for _, began := range begun {
				if r.IntN(10) == 0 {
					late = append(late, began)
					continue
				}
				to, want := 1+r.IntN(4), int64(0)
				for i := range slices.Backward(list) {
					l := &list[i]
					if l.answered <= began && began-l.answered <= useWithin && !l.taken && slices.Contains(l.addrs, to) {
						l.taken, want = true, (l.answered-l.asked)/ms
						break
					}
				}
				wait(t, table, to, began, want)
			}
		}
		if s := table.Stats(); s.Evicted != 0 || t.Failed() {
			t.Fatalf("seed %d: %+v", seed, s)
		}
	}
}

// Waits that nobody can ask for any more are no more than there is room for; those that
// nobody could ask for yet are counted.
func TestWaitsAreBounded(t *testing.T) {
	table := New(Config{})
	w := &table.waits
	at := 100 * sec
	round := func(n int) {
		for range n {
			at += ms / 100
			a := fmt.Sprintf("192.0.2.%d", 1+at/1e4%200)
			answered(t, table, at, 1, "a.example.", a)
		}
	}
	round(maxWaits + 100)
	if s := table.Stats(); s.Evicted != 100 || len(w.ring) != maxWaits {
		t.Errorf("%d missed, %d kept", s.Evicted, len(w.ring))
	}
	table.Tick(at, time.Hour)
	round(maxWaits / 2)
	table.Tick(at, time.Hour)
	round(maxWaits / 2)
	if s := table.Stats(); s.Evicted != 100 || len(w.ring) != maxWaits || len(w.tops) > 200 {
		t.Errorf("%d missed, %d kept of %d places", s.Evicted, len(w.ring), len(w.tops))
	}
	taken := 0
	for i := range 2 * maxWaits {
		if _, ok := table.Wait(addr(fmt.Sprintf("192.0.2.%d", 1+i%200)), 5, at); ok {
			taken++
		}
	}
	if taken != maxWaits || len(w.tops) != 0 {
		t.Errorf("%d waited for %d answers; %d places are left", taken, maxWaits, len(w.tops))
	}
	round(maxWaits) // over all of these
	if _, ok := table.Wait(addr("192.0.2.1"), 5, at); !ok {
		t.Error("the newest are not there")
	}
}

func TestDoesNotAllocateInTheLongRun(t *testing.T) {
	table := New(Config{})
	at := 100 * sec
	q := query(t, 1, "a.example.")
	var events []*kprobes.PayloadEvent
	for _, r := range [][]byte{reply(t, 1, "a.example.", 60, "192.0.2.1", "192.0.2.2"), reply(t, 1, "b.example.", 60, "192.0.2.1")} {
		events = append(events, datagram(true, at, q), datagram(false, at, r))
		q = query(t, 1, "b.example.")
	}
	one := func(events ...*kprobes.PayloadEvent) {
		for _, e := range events {
			at += ms
			e.Time = at
			table.Payload(e)
		}
		table.Name(addr0, 5, at)
		table.Wait(addr0, 5, at)
	}
	for range maxWaits {
		one(events...)
	}
	if n := testing.AllocsPerRun(1000, func() { one(events[:2]...) }); n != 0 {
		t.Errorf("%v allocations per answer", n)
	}
	if n := testing.AllocsPerRun(1000, func() { one(events...) }); n > 2 {
		t.Errorf("%v allocations for two names by turns", n)
	}
	if s := table.Stats(); s.Unasked != 0 || s.Evicted != 0 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkLookups(b *testing.B) {
	table := New(Config{})
	q, r := datagram(true, sec, query(b, 1, "a.example.")), datagram(false, sec, reply(b, 1, "a.example.", 60, "192.0.2.1", "192.0.2.2"))
	at := sec
	for b.Loop() {
		at += ms
		q.Time, r.Time = at-ms/2, at
		table.Payload(q)
		table.Payload(r)
		table.Name(addr0, 5, at)
		table.Wait(addr0, 5, at)
	}
}
