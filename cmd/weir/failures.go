package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
)

// failures tells of edges that begin to fail. It belongs to the collector's goroutine.
type failures struct {
	news[edgeID]
	now map[edgeID]*failure // of this interval
}

// edgeID names an edge as the tags of flow do.
type edgeID struct {
	client, server string
	port           uint16
}

type failure struct {
	causes  correlate.Measures
	example string     // the first failed attempt
	client  sink.Actor // whose
}

func newFailures() *failures { return &failures{now: map[edgeID]*failure{}} }

// take counts the failed attempts of a record; it allocates only for the first of an
// edge in an interval.
func (f *failures) take(r *correlate.Record) {
	if r.Delta.FailedTotal() == 0 || r.Self {
		return
	}
	id := edgeID{nameOf(&r.Client), nameOf(&r.Server), r.Server.Port}
	x := f.now[id]
	if x == nil {
		if len(f.now) >= maxNews {
			f.lost += uint64(r.Delta.FailedTotal())
			return
		}
		x = &failure{example: exampleOf(r), client: sink.ActorOf(&r.Client)}
		f.now[id] = x
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

// exampleOf says whereto it was that somebody could not connect.
func exampleOf(r *correlate.Record) string {
	return fmt.Sprintf("server_address=%s server_port=%d", r.Server.Addr, r.Server.Port)
}

// tick ends the interval at t: each edge that failed in it, and not lately before, is
// an event.
func (f *failures) tick(t time.Time, to *sink.Events) {
	for id, x := range f.now {
		if f.is(id, t) {
			tellFailure(t, id, x, to)
		}
	}
	clear(f.now)
	f.forget(t)
}

func tellFailure(t time.Time, id edgeID, x *failure, to *sink.Events) {
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
		Evidence: strings.Join(append(words, x.example), " "), Actors: [2]sink.Actor{x.client},
	})
}
