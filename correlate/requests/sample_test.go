package requests

import (
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

// skip plays n exchanges that the kernel only counts, the first of which begins at at.
func (s *socket) skip(n int, at int64) {
	e := &s.ev
	e.Out, e.Time, e.Seq, e.Len, e.Data, e.Turn, e.Pauses = false, at, s.seq[1], 0, nil, true, true
	e.PrevFirst, e.PrevLast, e.PrevOctets, e.PrevNextSeq = s.first, s.last, s.octets, s.seq[0]
	s.t.Payload(e)
	e.Pauses = false
	for range n {
		s.seq[0] += 4
		s.seq[1] += 5
	}
	s.first, s.last, s.octets = at, at, 4
	e.Skipped, e.Resumes = uint32(n), true
}

// exchange plays one that is told.
func (s *socket) exchange(at int64, answer string) {
	s.say(false, at, "?get\n")
	s.ev.Skipped, s.ev.Resumes = 0, false
	s.say(true, at+2*ms, answer)
}

// Exchanges that were only counted are requests like the last before them; the number
// of requests and answers is exact, whatever the parser missed, and it missed nothing.
func TestSkippedExchangesCount(t *testing.T) {
	w := wants{}
	k := New(Config{}, toySpecs(), w)
	s := tcp(k, 2, kprobes.RoleServer)
	at := ms
	for range steadyFor {
		if w[2] != WantAll {
			t.Fatal("asked too early")
		}
		s.exchange(at, "!OK\n")
		at += 10 * ms
	}
	if w[2] != WantSome {
		t.Fatalf("asked for %v", w[2])
	}
	r := recordOf(0, 2)
	k.Take(r) // an interval ends: what is skipped next stands for one of the interval before
	s.skip(9, at)
	s.exchange(at+100*ms, "!E1\n")
	s.skip(5, at+200*ms)
	s.exchange(at+300*ms, "!OK\n")
	k.Take(r)
	q := r.Requests
	got, estimated := map[string]uint32{}, map[string]uint32{}
	for _, m := range q.Messages {
		got[m.Status] += m.Requests
		estimated[m.Status] += m.Estimated
		if m.Lost != 0 || m.Response.Count() != uint64(m.Requests) {
			t.Errorf("%+v", m)
		}
	}
	if got["OK"] != 10 || got["E1"] != 6 || q.Errors != 6 {
		t.Errorf("told %v, %d errors", got, q.Errors)
	}
	// Only one of them is known to have failed: how many were taken for such is told.
	if estimated["OK"] != 9 || estimated["E1"] != 5 || q.Estimated != 14 {
		t.Errorf("estimated %v, %d in all", estimated, q.Estimated)
	}
	if q.Life.Requests != steadyFor+16 || q.Life.Responses != steadyFor+16 || q.Response.Count() != 16 {
		t.Errorf("%+v, %d answers", q.Life, q.Response.Count())
	}
	if st := k.Stats(); st.Sampled != 14 || st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
}

// A connection whose requests overlap, or are not answered, is told in full again.
func TestSamplingEnds(t *testing.T) {
	w := wants{}
	k := New(Config{}, toySpecs(), w)
	s := tcp(k, 2, kprobes.RoleServer)
	for i := range int64(steadyFor) {
		s.exchange(10*i*ms+ms, "!OK\n")
	}
	s.say(false, 900*ms, "?get\n")
	s.say(false, 901*ms, "?get\n") // the toy loses the first
	if w[2] != WantAll {
		t.Errorf("asked for %v", w[2])
	}
}

// What the kernel skipped last is told at the end, without payload.
func TestSkippedAtTheEnd(t *testing.T) {
	k := New(Config{}, toySpecs(), wants{})
	s := tcp(k, 2, kprobes.RoleServer)
	for i := range int64(steadyFor) {
		s.exchange(10*i*ms+ms, "!OK\n")
	}
	s.skip(7, 900*ms)
	e := &s.ev
	e.Turn, e.Len, e.Data = false, 0, nil
	k.Payload(e)
	r := recordOf(0, 2)
	r.Final = true
	k.Take(r)
	if n := r.Requests.Life.Requests; n != steadyFor+7 {
		t.Errorf("%d requests", n)
	}
}
