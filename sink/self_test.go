package sink

import (
	"testing"
)

func TestSelf(t *testing.T) {
	s := NewSelf(testConfig())
	s.Info(at(1), Info{Version: "1.0", Kernel: "6.1.0", Started: at(0), HooksAttached: 9, HooksMissing: 1})
	s.Stage(at(1), StageJoin, s.Meter(StageJoin, SelfUnmatched, 5), SelfConnections.Is(3), Coverage(50, 100), SelfCPU.Is(0.25))
	s.Stage(at(1), StageFlows, Coverage(0, 0)) // nothing measured, no row
	ps := points(t, s.Flush())
	if len(ps) != 2 || ps[0].tags["host"] != "h1" || ps[0].int(InfoSchema) != SchemaVersion || ps[0].int(InfoHooksAttached) != 9 || ps[0].int(InfoStarted) != at(0).UnixNano() ||
		ps[0].fields[InfoOutOfSight] != "none" || ps[0].fields[InfoRestartNeeded] != "none" {
		t.Fatalf("rows %v", ps)
	}
	if p := ps[1]; p.tags[TagStage] != "join" || p.int("unmatched") != 5 || p.fields["coverage"] != 0.5 || p.fields["cpu_seconds"] != 0.25 {
		t.Errorf("row %v", p)
	}
	s.Stage(at(2), StageJoin, s.Meter(StageJoin, SelfUnmatched, 7))
	s.Stage(at(2), StageKernel, s.Meter(StageKernel, SelfUnmatched, 7))
	ps = points(t, s.Flush())
	if ps[0].int("unmatched") != 2 || ps[1].int("unmatched") != 7 {
		t.Errorf("meters are per stage and count the increase: %v", ps)
	}
	s.Stage(at(3), StageJoin, s.Meter(StageJoin, SelfUnmatched, 4))
	if ps = points(t, s.Flush()); ps[0].int("unmatched") != 4 {
		t.Errorf("a counter that began anew: %v", ps)
	}
	if bs := s.Flush(); len(bs) != 0 {
		t.Errorf("%d batches again", len(bs))
	}
}

func TestSinkStage(t *testing.T) {
	a, l, s := NewAggregator(testConfig()), NewFlowLog(testConfig()), NewSelf(testConfig())
	r := record(web, db)
	a.Add(r)
	l.Add(r, at(1))
	a.Flush(at(1))
	l.Flush(at(1))
	s.SinkStage(at(1), a.Stats(), l.Stats())
	p := points(t, s.Flush())[0]
	for name, want := range map[SelfInt]int64{SelfRecords: 1, SelfRows: 2, SelfSeries: 1, SelfLogSeries: 1, SelfSeriesAdmitted: 1, SelfLogRows: 1, SelfSeriesRefused: 0} {
		if got := p.int(string(name)); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
}
