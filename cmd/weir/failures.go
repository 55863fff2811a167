package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
)

const (
	// quiet is how long an edge has to do without a failed connection for the next one
	// to be news.
	quiet = 5 * time.Minute
	// maxFailing bounds the edges remembered; past it failures are in the rows only.
	maxFailing = 2000
)

// failures tells of edges that begin to fail. It belongs to the collector's goroutine.
type failures struct {
	of   map[edgeID]*failure
	seen uint64 // interval
	lost uint64 // failed attempts of edges that there was no room for
}

// edgeID names an edge as the tags of flow do.
type edgeID struct {
	client, server string
	port           uint16
}

type failure struct {
	interval uint64 // in which it was counted
	causes   correlate.Measures
	example  string // the first failed attempt of a stretch
	last     time.Time
}

// newFailures returns failures that know of none.
func newFailures() *failures { return &failures{of: map[edgeID]*failure{}, seen: 1} }

// take counts the failed attempts of a record; it allocates only for a new edge.
func (f *failures) take(r *correlate.Record) {
	if r.Delta.FailedTotal() == 0 || r.Self {
		return
	}
	id := edgeID{nameOf(&r.Client), nameOf(&r.Server), r.Server.Port}
	x := f.of[id]
	if x == nil {
		if len(f.of) >= maxFailing {
			f.lost += uint64(r.Delta.FailedTotal())
			return
		}
		x = new(failure)
		f.of[id] = x
	}
	if x.interval != f.seen {
		x.interval, x.causes = f.seen, correlate.Measures{}
	}
	if x.example == "" {
		x.example = exampleOf(r)
	}
	for i, n := range r.Delta.Failed {
		x.causes.Failed[i] += n
	}
}

func nameOf(e *correlate.Endpoint) string {
	if e.Name != "" {
		return e.Name
	}
	return e.Kind.String()
}

// exampleOf says who it was that could not connect, and whereto.
func exampleOf(r *correlate.Record) string {
	s := fmt.Sprintf("server_address=%s server_port=%d", r.Server.Addr, r.Server.Port)
	if p := r.Client.Process; p != nil {
		s += fmt.Sprintf(" client_pid=%d client_process=%s", p.PID, p.Name)
	}
	return s
}

// tick ends the interval at t: each edge that failed in it, and not lately before, is
// an event.
func (f *failures) tick(t time.Time, to *sink.Events) {
	for id, x := range f.of {
		if x.interval == f.seen {
			if t.Sub(x.last) > quiet {
				f.tell(t, id, x, to)
			}
			x.last = t
		} else if t.Sub(x.last) > quiet {
			delete(f.of, id)
		}
	}
	f.seen++
}

func (f *failures) tell(t time.Time, id edgeID, x *failure, to *sink.Events) {
	n := uint64(x.causes.FailedTotal())
	var words []string
	for c, k := range x.causes.Failed {
		if k > 0 {
			words = append(words, fmt.Sprintf("%s=%d", sink.FieldFailedBy[c], k))
		}
	}
	to.Add(t, &sink.Event{
		Type: sink.EventConnectionFailed, Severity: sink.SeverityWarning, Client: id.client, Server: id.server, Seen: float64(n),
		Message:  fmt.Sprintf("%s to port %d failed, for the first time in %d min", count(n, "attempt to connect", "attempts to connect"), id.port, int(quiet.Minutes())),
		Evidence: strings.Join(append(words, x.example), " "),
	})
	x.example = ""
}
