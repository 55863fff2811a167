package capture

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/packet"
)

// counter is a Handler that sums up.
type counter struct{ packets uint64 }

func (c *counter) Flow(r *flows.Record) {
	c.packets += r.Dir[0].Packets + r.Dir[1].Packets
}
func (c *counter) NAT(*flows.NAT) {}

// Collect from another goroutine loses and doubles nothing.
func TestMeteredConcurrentCollect(t *testing.T) {
	m := NewMetered(openBytes(t, manyFlows(t), FileConfig{}), MeteredConfig{Batch: 8})
	defer m.Close()
	var c counter
	var wait sync.WaitGroup
	wait.Add(1)
	done := make(chan struct{})
	go func() {
		defer wait.Done()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			if err := m.Collect(craftStart.UnixNano(), &c); err != nil {
				t.Error(err)
			}
			m.Stats()
		}
	}()
	if err := m.Run(context.Background()); err != nil {
		t.Error(err)
	}
	close(done)
	wait.Wait()
	m.Flush(&c)
	if s := m.Stats(); c.packets != s.Packets || s.Packets != s.Source.Packets || s.Packets == 0 {
		t.Errorf("%d packets in records, %d read, %d delivered", c.packets, s.Packets, s.Source.Packets)
	}
}

func manyFlows(t testing.TB) []byte {
	var frames []frame
	for n := range 300 {
		frames = append(frames, conversation(t, 10_000+n, 80, exchange(time.Duration(n)*time.Millisecond, 1000))...)
	}
	return writePcap(t, 1, frames)
}

func TestMeteredRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := NewMetered(openBytes(t, craftDNS(t), FileConfig{}), MeteredConfig{})
	if err := m.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v, want the context's error", err)
	}
	cut := craftDNS(t)
	m = NewMetered(openBytes(t, cut[:len(cut)-5], FileConfig{}), MeteredConfig{})
	if err := m.Run(context.Background()); !errors.Is(err, ErrTruncated) {
		t.Errorf("Run returned %v, want ErrTruncated", err)
	}
	if got := m.Stats().Packets; got != 4 {
		t.Errorf("%d packets before the cut, want 4", got)
	}
}

func TestReplayTicksByFileTime(t *testing.T) {
	m := NewMetered(openBytes(t, craftDNS(t), FileConfig{}), MeteredConfig{})
	var ticks []time.Duration
	var c counter
	err := m.Replay(context.Background(), 10*time.Second, &c, func(now int64) error {
		ticks = append(ticks, time.Duration(now-craftStart.UnixNano()))
		return nil
	})
	must(t, err)
	// Packets at 0, 70 and 80 s: the gap ticks at both ends, the begun interval at the end.
	want := []time.Duration{10 * time.Second, 70 * time.Second, 80 * time.Second, 90 * time.Second}
	if !slices.Equal(ticks, want) {
		t.Errorf("ticks at %v, want %v", ticks, want)
	}
	if c.packets != 5 {
		t.Errorf("%d packets, want 5", c.packets)
	}
	stop := errors.New("stop")
	m = NewMetered(openBytes(t, craftDNS(t), FileConfig{}), MeteredConfig{})
	if err := m.Replay(context.Background(), 10*time.Second, &c, func(int64) error { return stop }); err != stop {
		t.Errorf("error of tick: got %v", err)
	}
}

func TestNetNSInKey(t *testing.T) {
	m := NewMetered(openBytes(t, craftDNS(t), FileConfig{}), MeteredConfig{NetNS: 4026531840})
	must(t, m.Run(context.Background()))
	var r recorder
	m.Flush(&r)
	for _, rec := range r.records {
		if rec.Key.NetNS != 4026531840 {
			t.Errorf("key = %+v", rec.Key)
		}
	}
	if len(r.records) == 0 {
		t.Error("no records")
	}
}

// repeat delivers the same batch for ever.
type repeat struct{ packets []Packet }

func (r *repeat) ReadBatch(_ context.Context, batch []Packet) (int, error) {
	return copy(batch, r.packets), nil
}
func (r *repeat) Stats() SourceStats { return SourceStats{} }
func (r *repeat) Close() error       { return nil }

func meteredPackets(t testing.TB) []Packet {
	all, _ := readAll(t, openBytes(t, manyFlows(t), FileConfig{}))
	return all[:256]
}

func TestMeteredDoesNotAllocate(t *testing.T) {
	packets := meteredPackets(t)
	m := NewMetered(&repeat{packets}, MeteredConfig{})
	run := func() {
		for i := range packets {
			p := packets[i]
			m.observe(&p)
		}
	}
	run()
	run()
	if n := testing.AllocsPerRun(50, run); n > 0 {
		t.Errorf("%v allocations for %d packets, want none", n, len(packets))
	}
}

func TestUnsupportedLinkTypeIsCounted(t *testing.T) {
	m := NewMetered(&repeat{}, MeteredConfig{})
	m.observe(&Packet{Data: []byte{1, 2, 3}, Wire: 30, Link: packet.LinkType(147)})
	if s := m.Stats(); s.UnsupportedPackets != 1 || s.UnsupportedOctets != 30 || s.Packets != 1 {
		t.Errorf("stats = %+v", s)
	}
}

func BenchmarkMetered(b *testing.B) {
	packets := meteredPackets(b)
	m := NewMetered(&repeat{packets}, MeteredConfig{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		m.observe(&packets[n])
		if n++; n == len(packets) {
			n = 0
		}
	}
}

func BenchmarkFile(b *testing.B) {
	data := manyFlows(b)
	batch := make([]Packet, 256)
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		f := openBytes(b, data, FileConfig{})
		for {
			n, err := f.ReadBatch(context.Background(), batch)
			packets += n
			if err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
}
