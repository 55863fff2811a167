package sink

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/usage"
)

// flooded plays intervals of 20 edges that stay, after a flood of peers that come once.
func flooded(t *testing.T, a *Aggregator, flood string, peers, from, intervals int, series map[string]bool) {
	t.Helper()
	for i := range intervals {
		for j := range peers {
			r := record(web, external(fmt.Sprintf("%s%d-%s.example", flood, i, letters(j))))
			r.Reporter = correlate.ReporterClient
			a.Add(r)
		}
		for j := range 20 {
			a.Add(record(plain("stays-"+letters(j), "app:1"), db))
		}
		for _, p := range of(points(t, a.Flush(at(from+i))), MeasurementFlow) {
			series[p.series] = true
		}
	}
}

// TestBudgetOutlivesRestart: a start in the middle of a flood admits no second budget, and
// what had a series before has the same one. Without what the run before has left it would
// be otherwise.
func TestBudgetOutlivesRestart(t *testing.T) {
	cfg := testConfig()
	cfg.SeriesBudget = 1000
	for _, told := range []bool{true, false} {
		series := map[string]bool{}
		a := NewAggregator(cfg)
		flooded(t, a, "", 0, 1, 1, series)
		flooded(t, a, "before", 3000, 2, 4, series)
		before := len(series)
		left := Standing{}
		a.Standing(left)
		left, err := ReadStanding(left.Append(nil, "me"), "me")
		if err != nil || len(left[MeasurementFlow]) < 300 {
			t.Fatalf("%d places, %v", len(left[MeasurementFlow]), err)
		}
		b := NewAggregator(cfg)
		if told {
			b.Restore(left)
		}
		after := map[string]bool{}
		flooded(t, b, "after", 3000, 7, 1, after)
		kept := 0
		for j := range 20 {
			if after[seriesOf(t, record(plain("stays-"+letters(j), "app:1"), db))] {
				kept++
			}
		}
		flooded(t, b, "after", 3000, 8, 4, after)
		maps.Copy(series, after)
		more := len(series) - before
		if told && (kept != 20 || more > cfg.SeriesBudget-before) || !told && (kept == 20 || more < 200) {
			t.Errorf("told %v: %d series before, %d more after the restart; %d of 20 edges have theirs", told, before, more, kept)
		}
		if told && int(b.Stats().Series) < before {
			t.Errorf("%d series are held, %d were", b.Stats().Series, before)
		}
		checkSize(t, b)
		// What nobody asks for gives its place back.
		b.Flush(at(12).Add(time.Duration(cfg.SeriesExpiry) + time.Minute))
		b.Flush(at(12).Add(time.Duration(cfg.SeriesExpiry) + 3*time.Minute))
		if n := b.Stats().Series; n != 0 {
			t.Errorf("%d series after the expiry", n)
		}
	}
}

// seriesOf is the series that a record has without any pressure.
func seriesOf(t *testing.T, r *correlate.Record) string {
	a := NewAggregator(testConfig())
	a.Add(r)
	return of(points(t, a.Flush(at(1))), MeasurementFlow)[0].series
}

// TestEveryBudgetOutlivesRestart: what each table has left holds a place in the next one,
// and one only when it is asked for again.
func TestEveryBudgetOutlivesRestart(t *testing.T) {
	type table interface {
		Standing(Standing)
		Restore(Standing)
		Flush(time.Time) []*Batch
	}
	r := record(web, db)
	r.Final = true
	for name, c := range map[string]struct {
		make func() table
		add  func(table)
		used func(table) uint64
	}{
		MeasurementFlow: {func() table { return NewAggregator(testConfig()) }, func(x table) { x.(*Aggregator).Add(r) }, func(x table) uint64 { return x.(*Aggregator).Stats().Series }},
		MeasurementFlowLog: {func() table { return NewFlowLog(testConfig()) }, func(x table) { x.(*FlowLog).Add(r, at(1)) },
			func(x table) uint64 { return x.(*FlowLog).Stats().Series }},
		MeasurementContainer: {func() table { return NewContainers(testConfig()) }, func(x table) { x.(*Usage).Add(&r.Client, &usage.Reading{}) }, func(x table) uint64 { return x.(*Usage).Stats().Series }},
		MeasurementProcess:   {func() table { return NewProcesses(testConfig()) }, func(x table) { x.(*Usage).Add(&r.Client, &usage.Reading{}) }, func(x table) uint64 { return x.(*Usage).Stats().Series }},
		MeasurementDrop:      {func() table { return NewDrops(testConfig()) }, func(x table) { x.(*Drops).Add(&r.Client, "queue", "x", 1, 1) }, func(x table) uint64 { return x.(*Drops).Stats().Series }},
	} {
		first, second, third := c.make(), c.make(), Standing{}
		c.add(first)
		first.Flush(at(1))
		left := Standing{}
		first.Standing(left)
		if len(left[name]) != 1 || left[name][0].Hash == 0 {
			t.Fatalf("%s: %v", name, left)
		}
		second.Restore(left)
		if n := c.used(second); n != 1 {
			t.Errorf("%s: %d places are held", name, n)
		}
		second.Standing(third) // nobody has asked for it yet: the run after that is told, too
		c.add(second)
		second.Flush(at(2))
		if n := c.used(second); n != 1 || len(third[name]) != 1 || third[name][0] != left[name][0] {
			t.Errorf("%s: %d places, left %v", name, n, third)
		}
	}
}

// TestEventSeriesOutliveRestart: the same of the tag sets of event, which have a bound of
// their own.
func TestEventSeriesOutliveRestart(t *testing.T) {
	oom := func(i int) *Event { return &Event{Type: EventOOM, Severity: SeverityError, Server: fmt.Sprint(i)} }
	first, second, left := NewEvents(testConfig()), NewEvents(testConfig()), Standing{}
	for i := range maxEventSeries {
		first.Add(at(1).Add(time.Duration(i)*time.Second), oom(i))
	}
	first.Standing(left)
	second.Restore(left)
	now := at(1).Add(maxEventSeries * time.Second)
	second.Add(now, oom(maxEventSeries))
	second.Add(now, oom(7))
	if st := second.Stats(); st.Folded != 1 || st.Rows != 2 {
		t.Errorf("%+v: the new one is other, the old one itself", st)
	}
	second.Add(now.Add(time.Duration(testConfig().SeriesExpiry)+time.Minute), oom(maxEventSeries))
	if st := second.Stats(); st.Folded != 1 {
		t.Errorf("%+v: no place was given back", st)
	}
}

func TestReadStanding(t *testing.T) {
	s := Standing{"flow": {{1, 2}, {3, -4}}, "l7": nil}
	b := s.Append(nil, "me")
	got, err := ReadStanding(b, "me")
	if err != nil || len(got) != 2 || len(got["flow"]) != 2 || got["flow"][1] != (Place{3, -4}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ReadStanding(b, "you"); got != nil || err != nil {
		t.Errorf("somebody else's: %v, %v", got, err)
	}
	for n := range b {
		if _, err := ReadStanding(b[:n], "me"); err == nil {
			t.Errorf("%d octets are taken", n)
		}
	}
}

// sealed gives anything the checksum that it has to have.
func sealed(b []byte) []byte {
	b = append([]byte(standingMagic), b...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func FuzzReadStanding(f *testing.F) {
	whole := Standing{"flow": {{1, 2}}}.Append(nil, "me")
	f.Add(whole[len(standingMagic) : len(whole)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ReadStanding(sealed(b), "me"); err == nil && s != nil {
			s.Append(nil, "me")
		}
	})
}
