package volume

import (
	"context"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/test/influxd"
)

const interval = 10 * time.Second

// truth is what was fed.
type truth struct {
	records, opened, failed uint64
	wire, payload           uint64 // octets, both directions
	requests                uint64
	groups                  uint64
	events                  uint64
}

// feed is the sink as cmd/weir has it, with a clock of its own: what it encodes goes to
// the journal, and from there to a database.
type feed struct {
	t           testing.TB
	now         time.Time // end of the interval
	edges       *sink.Aggregator
	log         *sink.FlowLog
	groups      *sink.Usage
	processes   *sink.Usage
	events      *sink.Events
	self        *sink.Self
	journal     *journal.Journal
	deliverers  []*sink.Deliverer
	reading     *usage.Reading
	taken       func(*correlate.Record) // hears of each record, or nil
	truth       truth
	rows, bytes uint64 // encoded
	n           int64  // records of this interval
}

// newFeed begins at a whole interval of the hour before, so that no row is of the future.
func newFeed(t testing.TB, cfg sink.Config, db influxdb.Config) *feed {
	t.Helper()
	j, err := journal.Open(journal.Config{Dir: t.TempDir(), Sync: journal.SyncSegment})
	if err != nil {
		t.Fatal(err)
	}
	s, err := influxdb.New(db)
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{
		t: t, now: time.Now().Add(-time.Hour).Truncate(interval), edges: sink.NewAggregator(cfg), log: sink.NewFlowLog(cfg),
		groups: sink.NewContainers(cfg), processes: sink.NewProcesses(cfg), events: sink.NewEvents(cfg), self: sink.NewSelf(cfg),
		journal: j, reading: reading(),
	}
	for stream := range sink.Streams {
		q, err := j.Queue(s.Name(), stream)
		if err != nil {
			t.Fatal(err)
		}
		f.deliverers = append(f.deliverers, sink.NewDeliverer(s, q, stream, sink.DeliverConfig{}))
		t.Cleanup(func() { q.Close() })
	}
	t.Cleanup(func() {
		s.Close(context.Background())
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// restart begins anew with what a probe leaves to the next one.
func (f *feed) restart(cfg sink.Config) {
	left := sink.Standing{}
	for _, x := range []interface{ Standing(sink.Standing) }{f.edges, f.log, f.groups, f.processes, f.events} {
		x.Standing(left)
	}
	f.edges, f.log, f.groups = sink.NewAggregator(cfg), sink.NewFlowLog(cfg), sink.NewContainers(cfg)
	f.processes, f.events = sink.NewProcesses(cfg), sink.NewEvents(cfg)
	for _, x := range []interface{ Restore(sink.Standing) }{f.edges, f.log, f.groups, f.processes, f.events} {
		x.Restore(left)
	}
	f.self = sink.NewSelf(cfg)
}

// add takes a connection of this interval.
func (f *feed) add(r *correlate.Record) {
	f.n++
	r.Start = f.now.Add(-interval).UnixNano() + f.n
	r.End = r.Start + 5e9
	d := &r.Delta
	f.truth.records++
	f.truth.opened += uint64(d.Opened)
	f.truth.failed += uint64(d.FailedTotal())
	f.truth.wire += d.ToServer.WireOctets + d.ToClient.WireOctets
	f.truth.payload += d.ToServer.Payload + d.ToClient.Payload
	if r.Requests != nil {
		for _, t := range r.Requests.Messages {
			f.truth.requests += uint64(t.Requests)
		}
	}
	if f.taken != nil {
		f.taken(r)
	}
	f.edges.Add(r)
	f.log.Add(r, f.now)
}

// used adds a container and its process.
func (f *feed) used(e *correlate.Endpoint) {
	f.truth.groups++
	f.groups.Add(e, f.reading)
	f.processes.Add(e, f.reading)
}

func (f *feed) event(e *sink.Event) {
	f.truth.events++
	f.events.Add(f.now, e)
}

// flush ends the interval: what cmd/weir's output does.
func (f *feed) flush() {
	f.t.Helper()
	out := [][]*sink.Batch{f.edges.Flush(f.now), f.log.Flush(f.now), f.groups.Flush(f.now), f.processes.Flush(f.now), f.events.Flush()}
	f.tellSelf()
	for _, batches := range append(out, f.self.Flush()) {
		for _, b := range batches {
			f.rows += uint64(b.Rows)
			f.bytes += uint64(len(b.Lines))
			if err := f.journal.Append(b); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	f.now = f.now.Add(interval)
	f.n = 0
}

// tellSelf writes the rows of weir_self that say what was folded.
func (f *feed) tellSelf() {
	f.self.SinkStage(f.now, f.edges.Stats(), f.log.Stats())
	g, p, e := f.groups.Stats(), f.processes.Stats(), f.events.Stats()
	f.self.Stage(f.now, sink.StageResources, sink.SelfUsageSeries.Is(g.Series), f.self.Meter(sink.StageResources, sink.SelfUsageFolded, g.Folded),
		sink.SelfProcessSeries.Is(p.Series), f.self.Meter(sink.StageResources, sink.SelfProcessFolded, p.Folded))
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return f.self.Meter(sink.StageEvents, n, v) }
	f.self.Stage(f.now, sink.StageEvents, m(sink.SelfEvents, e.Rows), m(sink.SelfEventsSuppressed, e.Suppressed), m(sink.SelfEventsFolded, e.Folded))
}

// deliver brings everything to the database, which must take all of it.
func (f *feed) deliver() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 4*time.Minute)
	defer cancel()
	rows := uint64(0)
	for _, d := range f.deliverers {
		if err := d.Drain(ctx); err != nil {
			f.t.Fatal(err)
		}
		s := d.Stats()
		rows += s.Rows
		if s.Rejected() != 0 || s.Queue.Lost != 0 {
			f.t.Errorf("the database has not taken everything: %+v", s)
		}
	}
	if rows != f.rows {
		f.t.Errorf("%d rows delivered, %d encoded", rows, f.rows)
	}
}

// database makes a pair of databases of that name and says how to write to them.
func database(t testing.TB, srv *influxd.Server, name string) influxdb.Config {
	t.Helper()
	srv.CreateBucket(t, name)
	srv.CreateBucket(t, name+"_log")
	if srv.V1() {
		return influxdb.Config{URL: srv.URL, Database: name}
	}
	return influxdb.Config{URL: srv.URL, Org: srv.Org, Bucket: name, Token: influxdb.Secret(srv.Token)}
}
