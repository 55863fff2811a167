package sink

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// TestPortScan is case J1: a scan of 60 000 ports adds no series.
func TestPortScan(t *testing.T) {
	scanner := plain("scanner", "nmap")
	target := container("shop", "db", "shop-db-1", "")
	target.Process = nil
	a := NewAggregator(testConfig())
	a.Add(record(web, db))
	a.Add(refused(scanner, target, 40001)) // the edge that is there before: ephemeral
	points(t, a.Flush(at(1)))
	before := a.Stats().Series
	for port := range uint16(60000) {
		a.Add(refused(scanner, target, port+1))
	}
	ps := of(points(t, a.Flush(at(2))), MeasurementFlow)
	// One of the ports is served, and is an edge of its own as it would be
	// without a scan; the other 59 999 add nothing.
	if got := a.Stats().Series; got != before+1 {
		t.Errorf("%d series, before the scan %d: %v", got, before, ps)
	}
	if got := sum(ps, FieldFailed); got != 60000 {
		t.Errorf("%d failures in the rows, want 60000", got)
	}
	// Port 5432 of the same server, which serves others, keeps its number.
	if len(ps) != 2 || ps[0].tags[TagServerPort] == ps[1].tags[TagServerPort] {
		t.Errorf("rows %v", ps)
	}
	if a.Stats().PortsScanned == 0 || a.Stats().PortsEphemeral < 59000 {
		t.Errorf("not reported: %+v", a.Stats())
	}
	checkSize(t, a)
}

// TestRefusedServiceKeepsItsPort: a service that is down is not a scan.
func TestRefusedServiceKeepsItsPort(t *testing.T) {
	target := external("db.example")
	a := NewAggregator(testConfig())
	for range 100 {
		a.Add(refused(web, target, 5432))
	}
	p := of(points(t, a.Flush(at(1))), MeasurementFlow)[0]
	if p.tags[TagServerPort] != "5432" || p.int(FieldFailed) != 100 {
		t.Errorf("row %v", p)
	}
}

// TestPortsOfOneServer: 64 ports of a server have their number, the others are one.
func TestPortsOfOneServer(t *testing.T) {
	a := NewAggregator(testConfig())
	for port := range uint16(200) {
		a.Add(record(web, listening(db, 10001+port)))
	}
	ps := of(points(t, a.Flush(at(1))), MeasurementFlow)
	n := map[string]int64{}
	for _, p := range ps {
		n[p.tags[TagServerPort]] += p.int(FieldOpened)
	}
	if len(n) != maxPorts+1 || n[Other] != 200-maxPorts || a.Stats().PortsOther != 200-maxPorts {
		t.Errorf("%d ports, other %d, stats %+v", len(n), n[Other], a.Stats())
	}
}

func TestWellKnown(t *testing.T) {
	for port, want := range map[uint16]bool{22: true, 443: true, 1023: true, 1024: false, 5432: true, 6379: true, 8080: true, 32768: false, 40000: false, 65535: false} {
		if isWellKnown(port) != want {
			t.Errorf("port %d: %v", port, !want)
		}
	}
	for _, p := range registered {
		if p >= 32768 {
			t.Errorf("port %d lies in the range of ephemeral ports", p)
		}
	}
}

// world is a hostile set of records; TestBudget runs each through a small budget.
type world struct {
	name   string
	folded func(AggregatorStats) uint64 // the step that must have been taken
	record func(i int, r *rand.Rand) *correlate.Record
}

func worlds() []world {
	return []world{
		{"short-lived containers", func(s AggregatorStats) uint64 { return s.FoldedContainer }, func(i int, _ *rand.Rand) *correlate.Record {
			return record(plain(fmt.Sprintf("job-%08x", uint32(i)*2654435761), "job:1"), db)
		}},
		{"containers with made-up names", func(s AggregatorStats) uint64 { return s.FoldedContainer }, func(i int, _ *rand.Rand) *correlate.Record {
			return record(plain("happy_"+letters(i), "job:1"), db)
		}},
		{"processes", func(s AggregatorStats) uint64 { return s.FoldedProcess }, func(i int, _ *rand.Rand) *correlate.Record {
			return record(container("shop", "web", "shop-web-1", fmt.Sprintf("p%d", i)), db)
		}},
		{"peers", func(s AggregatorStats) uint64 { return s.FoldedOneEnd }, func(i int, _ *rand.Rand) *correlate.Record {
			r := record(web, external(letters(i)+".example"))
			r.Reporter = correlate.ReporterClient
			return r
		}},
		{"forwarded, all unknown", func(s AggregatorStats) uint64 { return s.FoldedOther }, func(i int, rnd *rand.Rand) *correlate.Record {
			r := record(external(letters(i)), listening(external(letters(i*7+1)), uint16(rnd.Uint32())))
			r.Proto, r.Reporter = flows.Proto(rnd.IntN(255)), correlate.Reporter(rnd.IntN(4))
			r.Attribution = correlate.Attribution(rnd.IntN(3))
			return r
		}},
	}
}

func letters(i int) string {
	s := ""
	for ; ; i /= 26 {
		s += string(rune('a' + i%26))
		if i < 26 {
			return s
		}
	}
}

func TestBudget(t *testing.T) {
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			c := testConfig()
			c.SeriesBudget = 1000
			a := NewAggregator(c)
			rnd := rand.New(rand.NewPCG(1, 1))
			series := map[string]bool{}
			const perInterval, intervals = 4000, 5
			for i := range intervals {
				for j := range perInterval {
					a.Add(w.record(i*perInterval+j, rnd))
				}
				ps := points(t, a.Flush(at(i+1)))
				for _, p := range of(ps, MeasurementFlow) {
					series[p.series] = true
				}
				for field, want := range map[string]int64{FieldOpened: 1, FieldToClientBytes: 2000, FieldToServerWireBytes: 400, FieldToClientPackets: 5} {
					if got := sum(of(ps, MeasurementFlow), field); got != want*perInterval {
						t.Errorf("interval %d: %s adds up to %d, want %d", i, field, got, want*perInterval)
					}
				}
				if got := sum(of(ps, MeasurementFlowLatency), Connect.Count); got != perInterval {
					t.Errorf("interval %d: %d connects timed, want %d", i, got, perInterval)
				}
				checkSize(t, a)
			}
			s := a.Stats()
			if len(series) > c.SeriesBudget || s.Series > uint64(c.SeriesBudget) {
				t.Errorf("%d series written, %d held, budget %d", len(series), s.Series, c.SeriesBudget)
			}
			if w.folded(s) == 0 || s.Refused != s.FoldedProcess+s.FoldedContainer+s.FoldedOneEnd+s.FoldedOther {
				t.Errorf("stats %+v", s)
			}
			t.Logf("%d series, %+v", len(series), s)
		})
	}
}

// checkSize holds the books to each other.
func checkSize(t *testing.T, a *Aggregator) {
	t.Helper()
	if n := len(a.edges) + len(a.budget.standing); a.budget.used != n {
		t.Fatalf("budget says %d series, there are %d", a.budget.used, n)
	}
	refs := uint32(0)
	for _, n := range a.names.refs[1:] {
		refs += n
	}
	held := uint32(0)
	for k := range a.edges {
		for _, e := range k.end {
			for _, id := range e.ids() {
				if id != 0 {
					held++
				}
			}
		}
	}
	if refs != held {
		t.Fatalf("%d references to names, %d in use", refs, held)
	}
}

// TestWhatStaysIsAdmitted: above half of the share, an edge that comes again
// gets its own series, one that does not never does.
func TestWhatStaysIsAdmitted(t *testing.T) {
	c := testConfig()
	c.SeriesBudget = 1000
	a := NewAggregator(c)
	n := 0
	for i := range 10 {
		for range 500 {
			a.Add(record(plain(fmt.Sprintf("job-%d", n+1000000), "job"), db))
			n++
		}
		a.Add(record(web, db))
		ps := points(t, a.Flush(at(i+1)))
		own := false
		for _, p := range ps {
			own = own || p.tags["client"] == "shop/web" && p.tags["client_process"] == "nginx"
		}
		if own != (i > 0) {
			t.Errorf("interval %d: own series %v", i, own)
		}
	}
	if s := a.Stats(); s.Series > 300 {
		t.Errorf("%d series", s.Series)
	}
}

// TestFloodDoesNotKeepOutWhatStays: more names in every interval than there is memory
// for, and edges that began after them.
func TestFloodDoesNotKeepOutWhatStays(t *testing.T) {
	c := testConfig()
	c.SeriesBudget = 1000
	a := NewAggregator(c)
	const staying = 8 // of one alone, chance decides
	n, own := 0, 0
	for i := range 100 {
		for range 5000 {
			a.Add(record(plain(fmt.Sprintf("job-%d", n+1000000), "job"), db))
			n++
		}
		if i > 0 {
			for k := range staying {
				a.Add(record(plain(fmt.Sprint("stays-", k), "nginx"), db))
			}
		}
		for _, p := range points(t, a.Flush(at(i+1))) {
			if p.measurement == MeasurementFlow && strings.HasPrefix(p.tags["client"], "stays-") && p.tags["client_process"] == "worker" {
				own++
			}
		}
		if held := len(a.budget.asked.young) + len(a.budget.asked.old); held > c.SeriesBudget {
			t.Fatalf("%d hashes are held", held)
		}
	}
	if own < staying*50 { // a chance of one in thirty per interval
		t.Errorf("series of their own in %d of 99 intervals of %d edges", own, staying)
	}
	if s := a.Stats(); s.Series > 400 {
		t.Errorf("what came once has %d series", s.Series)
	}
}

func TestExpiry(t *testing.T) {
	c := testConfig()
	c.SeriesBudget = 1000
	a := NewAggregator(c)
	for i := range 5000 {
		a.Add(record(web, external(letters(i))))
	}
	points(t, a.Flush(at(1)))
	if a.Stats().FoldedOneEnd == 0 {
		t.Fatal("no pressure")
	}
	hours := 7 * 360 // in intervals of 10 s
	a.Flush(at(hours))
	a.Add(record(web, db))
	points(t, a.Flush(at(hours+1)))
	if s := a.Stats(); s.Series != 1 || s.Expired == 0 {
		t.Errorf("stats %+v", s)
	}
	if len(a.names.ids) != 6 || len(a.ports.tables) != 1 {
		t.Errorf("names %v, %d port tables kept", a.names.ids, len(a.ports.tables))
	}
	checkSize(t, a)
	a.Add(record(web, external("new.example")))
	if ps := points(t, a.Flush(at(hours+2))); ps[0].tags["server"] != "new.example" {
		t.Errorf("the budget has not recovered: %v", ps[0].tags)
	}
}

// TestDefaultBudget is cases J2 and J3 at full size: 100 000 peers and 10 000
// containers that live for an instant.
func TestDefaultBudget(t *testing.T) {
	c := testConfig()
	a := NewAggregator(c)
	l := NewFlowLog(c)
	for i := range 100000 {
		r := record(web, external(letters(i)))
		a.Add(r)
		l.Add(r, at(1))
	}
	for i := range 10000 {
		r := record(plain(fmt.Sprintf("run-%d", i), "x"), db)
		a.Add(r)
		l.Add(r, at(1))
	}
	ps := points(t, a.Flush(at(1)))
	if got := sum(of(ps, MeasurementFlow), FieldOpened); got != 110000 {
		t.Errorf("%d opened, want 110000", got)
	}
	if n := len(of(ps, MeasurementFlow)); n > c.SeriesBudget/2 {
		t.Errorf("%d series made by what lives for an instant", n)
	}
	series := map[string]bool{}
	for _, p := range points(t, l.Flush(at(1))) {
		series[p.series] = true
	}
	if len(series) > c.SeriesBudget || len(series) != int(l.Stats().Series) {
		t.Errorf("flow_log: %d series, %+v", len(series), l.Stats())
	}
	checkSize(t, a)
}
