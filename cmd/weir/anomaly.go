package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// AnomalyConfig says whether, and how, what is unusual between services is looked for.
type AnomalyConfig struct {
	Mode           string `yaml:"mode"` // on, off
	anomaly.Config `yaml:",inline"`
}

// Values of anomaly.mode, and the one of anomaly.state that keeps nothing.
const (
	anomalyOn  = "on"
	anomalyOff = "off"
	stateOff   = "off"
	// stateName is that of the file in the journal's directory.
	stateName = "anomaly.state"
)

func defaultAnomaly() AnomalyConfig {
	return AnomalyConfig{Mode: anomalyOn, Config: anomaly.DefaultConfig()}
}

func (c *AnomalyConfig) validate() error {
	if err := oneOf("anomaly.mode", c.Mode, anomalyOn, anomalyOff); err != nil {
		return err
	}
	return c.Config.Validate()
}

// detector is the configuration of the package, with the place of the state.
func (c *Config) detector() anomaly.Config {
	d := c.Anomaly.Config
	switch {
	case d.State == stateOff, d.State == "" && c.Journal.Dir == "":
		d.State = ""
	case d.State == "":
		d.State = filepath.Join(c.Journal.Dir, stateName)
	}
	return d
}

// anomalies feeds the detector, writes what it tells, and has its state saved. It
// belongs to the collector's goroutine, but for run.
type anomalies struct {
	cfg   anomaly.Config
	det   *anomaly.Detector
	log   *slog.Logger
	saver stateSaver
	saved time.Time // when it was last handed to the saver
	news  bool      // something was told since
	fresh bool      // the record that was added last is the first of a new edge
}

// newAnomalies returns what cfg asks for, nil for nothing. It reads the state.
func newAnomalies(cfg *Config, log *slog.Logger) *anomalies {
	if cfg.Anomaly.Mode == anomalyOff {
		return nil
	}
	c := cfg.detector().WithDefaults()
	det, err := anomaly.Load(c, time.Now())
	if err != nil {
		log.Error("anomaly", "err", err)
	}
	return &anomalies{cfg: c, det: det, log: log, saver: stateSaver{path: c.State, what: "what was learnt of anomalies is not saved", log: log, queue: make(chan *state, 1)}}
}

// adapt has what follows judged by cfg; what was learnt stays.
func (a *anomalies) adapt(cfg *Config) {
	if a != nil {
		a.cfg = cfg.detector().WithDefaults()
		a.det.Reconfigure(a.cfg)
	}
}

// add takes a record of the interval that is being told.
func (a *anomalies) add(r *correlate.Record) {
	if a != nil {
		a.fresh = a.det.Add(r)
	}
}

// isNew says whether the record added last is the first of a new edge: its row in
// flow_log is written whatever the rate.
func (a *anomalies) isNew(*correlate.Record) bool { return a != nil && a.fresh }

// payload takes the DNS questions of sockets here.
func (a *anomalies) payload(e *kprobes.PayloadEvent) {
	if a == nil || e.Self || !e.Out || e.Plain || e.Key.DstPort != dnsServerPort {
		return
	}
	switch b := e.Data; {
	case len(b) == 0: // payload is timed, not copied
	case e.Key.Proto == flows.UDP:
		a.det.Query(e.Cookie, b)
	case e.Turn && len(b) > 2: // behind its length, RFC 7766
		n := 2 + int(binary.BigEndian.Uint16(b))
		a.det.Query(e.Cookie, b[2:min(len(b), n)])
	}
}

const dnsServerPort = 53

// tick ends the interval at end: one row of event for what began or ended in it.
func (a *anomalies) tick(end time.Time, out *output) {
	if a == nil {
		return
	}
	told := a.det.Tick(end)
	for i := range told {
		e := sink.AnomalyEvent(&told[i])
		out.events.Add(end, &e)
	}
	if len(told) > 0 {
		for _, b := range out.events.Flush() {
			out.queue.put(b)
		}
	}
	if a.saved.IsZero() {
		a.saved = end
	}
	a.news = a.news || len(told) > 0
	if age := end.Sub(a.saved); age >= a.cfg.SaveEvery || a.news && age >= saveNews {
		a.save(end)
	}
}

// saveNews is how soon what was told is saved: who was told that something began is to be
// told that it is over, whatever becomes of this process in between.
const saveNews = time.Minute

// ongoing are the anomalies that go on and were told.
func (a *anomalies) ongoing() []anomaly.Anomaly {
	if a == nil {
		return nil
	}
	return a.det.Ongoing()
}

// save hands the state to the saver, if that has nothing to do.
func (a *anomalies) save(now time.Time) {
	if a.saver.path == "" {
		return
	}
	if s := a.saver.spare(); s != nil {
		a.saved, a.news = now, false
		s.data = a.det.AppendState(s.data[:0])
		a.saver.queue <- s // has room: spare said so
	}
}

// run saves what it is given until ctx is done.
func (a *anomalies) run(ctx context.Context) error {
	if a != nil {
		a.saver.run(ctx)
	}
	return nil
}

// finish saves the state at the end of everything, and waits for the disk.
func (a *anomalies) finish() {
	if a != nil && a.saver.path != "" {
		a.saver.finish(a.det.AppendState(nil))
	}
}

// state is one encoding of what is to be known by the next run.
type state struct{ data []byte }

// stateSaver writes states to a file, one at a time.
type stateSaver struct {
	path  string
	what  string // to be said when it cannot be saved
	log   *slog.Logger
	queue chan *state
	busy  atomic.Bool // a state is queued or being written
	one   state       // that is used again and again

	mu              sync.Mutex // of the file
	final           bool       // the last one has been written
	saves, failures atomic.Uint64
	size            atomic.Uint64
}

// spare is a state to fill, nil while one is being written.
func (s *stateSaver) spare() *state {
	if !s.busy.CompareAndSwap(false, true) {
		return nil
	}
	return &s.one
}

func (s *stateSaver) run(ctx context.Context) {
	s.mu.Lock()
	s.final = false // the configuration was read again
	s.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-s.queue:
			s.write(x, false)
			s.busy.Store(false)
		}
	}
}

// write replaces the file. After the last state nothing older may.
func (s *stateSaver) write(x *state, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final && !last {
		return
	}
	s.final = last
	if err := anomaly.Save(s.path, x.data); err != nil {
		if s.failures.Add(1) == 1 {
			s.log.Error(s.what, "file", s.path, "err", err)
		}
		return
	}
	s.saves.Add(1)
	s.size.Store(uint64(len(x.data)))
}

// finish saves the last state, at the end of everything, and waits for the disk.
func (s *stateSaver) finish(data []byte) {
	if s.path == "" {
		return
	}
	select {
	case <-s.queue: // older
		s.busy.Store(false)
	default:
	}
	s.write(&state{data: data}, true)
}

// self writes the row of stage anomaly.
func (a *anomalies) self(s *sink.Self, t time.Time) {
	if a == nil {
		return
	}
	st := a.det.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageAnomaly, n, v) }
	var learning uint64
	if st.Learning {
		learning = 1
	}
	s.Stage(t, sink.StageAnomaly, m(sink.SelfRecords, st.Records),
		sink.SelfEdges.Is(uint64(st.Edges)), sink.SelfEnds.Is(uint64(st.Nodes)), sink.SelfProfiles.Is(uint64(st.Profiles)),
		sink.SelfLearning.Is(learning), sink.SelfAlarms.Is(uint64(st.Alarms)),
		m(sink.SelfAnomalies, st.ToldTotal()), m(sink.SelfAnomaliesOver, st.Resolved), m(sink.SelfSilenced, st.Silenced), m(sink.SelfNotTold, st.Dropped),
		m(sink.SelfUnclear, st.Unclear), m(sink.SelfGuessed, st.Guessed), m(sink.SelfAccepted, st.Accepted), m(sink.SelfDeployed, st.Deployed),
		m(sink.SelfForgotten, st.Forgotten), m(sink.SelfLostTableFull, st.Refused),
		sink.SelfSources.Is(uint64(st.Sources)), sink.SelfDomains.Is(uint64(st.Domains)),
		m(sink.SelfQueries, st.Queries), m(sink.SelfLostDecode, st.BadQueries),
		sink.SelfStateBytes.Is(a.saver.size.Load()), m(sink.SelfSaves, a.saver.saves.Load()), m(sink.SelfSaveFailures, a.saver.failures.Load()))
}

// examineAnomaly says where what was learnt is kept.
func examineAnomaly(cfg *Config) check {
	c := check{Area: "anomalies", Name: "state", State: good}
	d := cfg.detector()
	switch {
	case cfg.Anomaly.Mode == anomalyOff:
		c.State, c.Detail = plain, "switched off"
	case d.State == "":
		c.State, c.Detail = limited, "what is learnt is not kept"
		c.Remedy = fmt.Sprintf("name a file with anomaly.state, or a journal: after each start %s are learnt anew", d.Learn)
	default:
		c.Detail = d.State
	}
	return c
}
