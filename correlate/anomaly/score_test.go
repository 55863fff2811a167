package anomaly

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// scored plays an edge in intervals of step that carries rate octets a second, changed
// by with, and returns the score of each interval.
func scored(r *rig, d time.Duration, rate float64, with func(now time.Time, x *correlate.Record)) (scores []float64) {
	for end := r.now.Add(d); r.now.Before(end); {
		x := talk(web, db, 5432, uint64(rate*r.step.Seconds()), 1000)
		if with != nil {
			with(r.now, x)
		}
		r.d.Add(x)
		r.now = r.now.Add(r.step)
		r.all = append(r.all, r.d.Tick(r.now)...)
		scores = append(scores, *x.Score)
	}
	return scores
}

// An interval's score is of the minute so far: it is there before an event is, it is
// over with the minute, and neither learning nor the usual has one.
func TestScore(t *testing.T) {
	r := newRig(t, Config{Learn: 2 * time.Hour})
	r.step = 10 * time.Second
	for i, s := range scored(r, 3*time.Hour+10*time.Minute, 100e3, nil) {
		if s != 0 {
			t.Fatalf("interval %d of learning and of the usual has score %g", i, s)
		}
	}
	surge := scored(r, time.Minute, 2e6, nil) // 20 times the usual
	if len(r.all) != 0 {
		t.Errorf("told in the first minute: %+v", r.all)
	}
	// 10 s of it are 3 times what a minute has, as a share of an octave's quarter.
	if surge[0] < 5 || surge[0] > 8 {
		t.Errorf("after ten seconds %g", surge[0])
	}
	for i, s := range surge[1:] {
		if s <= surge[i] {
			t.Errorf("scores of one minute of a surge: %v", surge)
		}
	}
	if last := surge[5]; last < 16 || last > 19 { // log2(20) quarters of an octave
		t.Errorf("after a minute %g", last)
	}
	for i, s := range scored(r, time.Minute, 100e3, nil) {
		if s != 0 {
			t.Errorf("interval %d after it: %g", i, s)
		}
	}
	surge = scored(r, 6*time.Minute, 2e6, nil)
	r.want(r.all, "volume")
	if a := r.all[0]; a.Score != surge[len(surge)-1] {
		t.Errorf("the event says %g, the row of the minute %g", a.Score, surge[len(surge)-1])
	}
}

// Every measure has a share in it, and what falls far below the usual, once the minute
// is over.
func TestScoreOfEachMeasure(t *testing.T) {
	for name, c := range map[string]struct {
		partial bool // before the minute is over, too
		change  func(now time.Time, x *correlate.Record)
	}{
		"to client":   {true, func(_ time.Time, x *correlate.Record) { x.Delta.ToClient.Payload = 10e6 }},
		"connections": {true, func(_ time.Time, x *correlate.Record) { x.Delta.Opened = 100 }},
		"failures":    {true, func(_ time.Time, x *correlate.Record) { x.Delta.Failed[correlate.FailTimeout] = 100 }},
		"retransmits": {true, func(_ time.Time, x *correlate.Record) { x.Delta.ToServer.Retransmits = 60 }},
		"round trips": {true, func(_ time.Time, x *correlate.Record) { x.Delta.RTT.Sum = 50e6 }},
		"less":        {false, func(_ time.Time, x *correlate.Record) { x.Delta.ToServer.Payload = 10 }},
	} {
		r := newRig(t, Config{Learn: 2 * time.Hour})
		r.step = 10 * time.Second
		scored(r, 26*time.Hour, 100e3, nil)
		s := scored(r, time.Minute, 100e3, c.change)
		if (s[4] > 0) != c.partial || s[5] < 3 || s[5] > 256 {
			t.Errorf("%s: %v", name, s)
		}
	}
}

// What is not to be judged has none: an end without an owner; and 0 has what a
// deployment changed, and what came after a pause.
func TestNoScore(t *testing.T) {
	r := newRig(t, Config{Learn: 2 * time.Hour})
	scored(r, 3*time.Hour, 100e3, nil)
	x := talk(correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "box"}, db, 5432, 1e9, 1)
	x.Score = new(float64)
	if r.d.Add(x); x.Score != nil {
		t.Error("who has no owner has a score")
	}
	deployed := func(_ time.Time, x *correlate.Record) { x.Client = inService("shop/web", "web:2") }
	for i, s := range scored(r, 10*time.Minute, 5e6, deployed) {
		if s != 0 {
			t.Errorf("minute %d of a deployment: %g", i, s)
		}
	}
	r.now = r.now.Add(time.Hour)
	if s := scored(r, 2*time.Minute, 50e6, deployed); s[0] != 0 || s[1] != 0 {
		t.Errorf("after a pause %v", s)
	}
}
