package kprobes

import (
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows/clock"
)

// The kernel's budget of exchanges, as TestKernelPayloadFlood has it: how many are told
// in a window, from how many on the next one has a quarter of it, how long a window is
// and into it when the kernel has seen that it began, which takes a tick.
const (
	floodRoom   = 8
	floodFrom   = 8 * (floodRoom + 1)
	floodWindow = time.Duration(1 << 26)
	floodBegun  = floodWindow / 2
)

func windowOf(boot uint64) (number uint64, into time.Duration) {
	return boot / uint64(floodWindow), time.Duration(boot % uint64(floodWindow))
}

// flood is how many requests were made and told in each window. One that is on its way
// when a window ends may be of either.
type flood struct{ made, told map[uint64]int }

// run makes up to n exchanges in one window, once its beginning has been seen.
func (f *flood) run(t *testing.T, client, server net.Conn, n int) {
	first := uint64(0)
	buf := make([]byte, 8)
	send := func(from, to net.Conn, s string) {
		if _, err := from.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if k, err := to.Read(buf); err != nil || k != len(s) {
			t.Fatalf("%d octets, %v", k, err)
		}
	}
	for n > 0 {
		now, err := clock.BootTime()
		if err != nil {
			t.Fatal(err)
		}
		w, into := windowOf(now)
		switch {
		case first == 0 && into < floodBegun:
			time.Sleep(floodBegun - into)
			continue
		case first == 0 && f.made[w] > 0:
			time.Sleep(floodWindow - into)
			continue
		case first == 0:
			first = w
		case w > first:
			return
		}
		f.made[w]++
		send(client, server, "question")
		send(server, client, "answer")
		n--
	}
}

// TestKernelPayloadFlood: after a window with more than eight times as many exchanges as
// there is time for a quarter of that time is spent on them, and all of it again after
// one with fewer.
func TestKernelPayloadFlood(t *testing.T) {
	f := start(t, Config{Payload: true, PayloadRate: 15 * floodRoom}) // not quite 15 windows a second
	f.need(payloadHooks...)
	runtime.LockOSThread() // and the budget is a CPU's: the thread ends with the test
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	client, server := pipe(t, "tcp4", "127.0.0.1:0")
	cp, sp := ports(client)
	pass(t, client, server, []byte("question"))
	f.until("the first request", f.drain, func() bool { return len(f.payload(sp, cp)) == 1 })
	if err := f.set.SetPayload(f.payload(sp, cp)[0].Cookie, PayloadSampleIn); err != nil {
		t.Fatal(err)
	}
	pass(t, server, client, []byte("answer"))

	x := &flood{made: map[uint64]int{}, told: map[uint64]int{}}
	known := 0            // records
	seen := map[int]int{} // windows by how many exchanges they may tell
	f.until("windows after a flood, and after none", func() {
		x.run(t, client, server, 1<<20)
		x.run(t, client, server, 3*floodRoom)
		x.run(t, client, server, 3*floodRoom)
		f.drain()
		for _, e := range f.payload(sp, cp)[known:] {
			known++
			if string(e.Data) == "question" {
				w, _ := windowOf(uint64(f.set.dec.clock.Boot(e.Time)))
				x.told[w]++
			}
		}
		clear(seen)
		for w := range x.made {
			want := floodRoom
			switch {
			case x.made[w] <= floodRoom || x.made[w-1] <= floodRoom:
				continue // too few: by itself, or for what is told in it to be its own
			case x.made[w-1] > floodFrom:
				want = floodRoom / 4
			case x.made[w-1] >= floodFrom-1:
				continue
			}
			if x.told[w] != want {
				t.Errorf("window %d: %d of %d exchanges are told, want %d: the one before had %d", w, x.told[w], x.made[w], want, x.made[w-1])
			}
			seen[want]++
		}
	}, func() bool { return t.Failed() || seen[floodRoom] >= 3 && seen[floodRoom/4] >= 3 })
}
