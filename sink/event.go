package sink

import (
	"maps"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/sink/lineproto"
)

// EventType is what kind of thing happened.
type EventType string

// The types there are, beside those of anomalies (AnomalyEvent).
const (
	EventOOM       EventType = "oom"       // processes were killed for want of memory
	EventThrottled EventType = "throttled" // the CPU quota was used up most of the time
	EventStart     EventType = "container_start"
	EventStop      EventType = "container_stop"
	// EventConnectionFailed is an edge that begins to fail.
	EventConnectionFailed EventType = "connection_failed"
	// EventDrop is an end that begins to lose packets for a reason of this host's.
	EventDrop EventType = "drop"
)

// Severity is how bad it is.
type Severity string

// From least to worst.
const (
	SeverityInfo    Severity = "info"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// Event is one thing that happened.
type Event struct {
	Type     EventType
	Severity Severity
	// Client and Server are the display names of an edge; what happened to one end
	// has it as Server.
	Client, Server string
	// Message says it in words, Evidence in figures, key=value.
	Message, Evidence string
	// Expected is what was to be expected, or a limit; Seen what was seen.
	Expected, Seen float64
	// Actors are who did it, at the client's and the server's end: their zero value is
	// nobody that is known.
	Actors [2]Actor
	// Anomaly is what it tells of, nil for another event.
	Anomaly *anomaly.Anomaly
}

// Actor is a process that lives here, as an event names it.
type Actor struct {
	Container string
	PID       uint32
	Process   string
	User      string
	Cmdline   string // redacted by whoever read it
}

// ActorOf is who used an end of a connection last.
func ActorOf(e *correlate.Endpoint) (a Actor) {
	if e.Contain != nil {
		a.Container = e.Contain.Name
	}
	if p := e.Process; p != nil {
		a.PID, a.Process, a.User, a.Cmdline = p.PID, p.Name, p.User, p.Cmdline
	}
	return a
}

const (
	// eventRate is how many events may be written per second, with a burst of ten
	// times that.
	eventRate = 10
	// maxEventSeries bounds the tag sets; past it events are of `other`.
	maxEventSeries = 2000
)

// EventStats counts since the Events was made.
type EventStats struct {
	Rows, Suppressed, Folded uint64
	Encoder                  lineproto.Stats
}

// Events encodes the rows of event. Not safe for concurrent use.
type Events struct {
	host   string
	expiry int64
	rows   rows
	tags   []byte
	series map[eventKey]int64 // when it was last used
	// standing are those of an earlier run that have not come again, by hash.
	standing map[uint64]int64
	bucket   bucket
	last     int64 // time of the newest row
	// also is told of every event, also of those that there is no room for as a row; nil:
	// nobody.
	also    func(t time.Time, e *Event, fingerprint string, over bool)
	flushed bool
	stats   EventStats
}

type eventKey struct {
	kind           EventType
	severity       Severity
	client, server string
}

// NewEvents returns an Events; cfg has been validated.
func NewEvents(cfg Config) *Events {
	return &Events{host: cfg.Host, expiry: int64(cfg.SeriesExpiry), rows: rows{stream: Main}, series: map[eventKey]int64{}, bucket: bucket{rate: eventRate}}
}

// Also has f told of every event before it is written, on the goroutine of Add, with what
// AddLasting was given. f does not keep the Event.
func (s *Events) Also(f func(t time.Time, e *Event, fingerprint string, over bool)) { s.also = f }

// Stats returns the counts.
func (s *Events) Stats() EventStats {
	st := s.stats
	st.Encoder = s.rows.enc.Stats()
	st.Rows = st.Encoder.Rows
	return st
}

// Add writes an event that happened at t; its row's time is unique on this host.
// An anomaly lasts.
func (s *Events) Add(t time.Time, e *Event) {
	if a := e.Anomaly; a != nil {
		s.AddLasting(t, e, a.ID(), a.State == anomaly.Resolved)
		return
	}
	s.AddLasting(t, e, "", false)
}

// AddLasting is Add of the beginning, or the end, of something that lasts: its
// fingerprint is the same for both and of no other that lasts at the same time.
func (s *Events) AddLasting(t time.Time, e *Event, fingerprint string, over bool) {
	if s.also != nil {
		s.also(t, e, fingerprint, over)
	}
	s.begin()
	now := t.UnixNano()
	if !s.bucket.take(now) {
		s.stats.Suppressed++
		return
	}
	k := s.admit(e, now)
	s.tags = s.rows.enc.AppendTags(s.tags[:0], []lineproto.Tag{
		{Key: TagHost, Value: s.host}, {Key: TagEventType, Value: string(k.kind)}, {Key: TagSeverity, Value: string(k.severity)},
		{Key: TagName[ClientEnd], Value: k.client}, {Key: TagName[ServerEnd], Value: k.server},
	})
	enc := &s.rows.enc
	enc.Begin(MeasurementEvent, s.tags)
	enc.String(FieldMessage, e.Message)
	enc.String(FieldEvidence, e.Evidence)
	enc.Float(FieldExpected, e.Expected)
	enc.Float(FieldSeen, e.Seen)
	writeActors(enc, e)
	if e.Anomaly != nil {
		writeAnomaly(enc, e.Anomaly)
	}
	s.last = max(now, s.last+1)
	s.rows.end(s.last)
}

// writeActors writes what is known of who did it.
func writeActors(enc *lineproto.Encoder, e *Event) {
	for i := range e.Actors {
		a := &e.Actors[i]
		known(enc, LogContainer[i], a.Container)
		known(enc, LogProcess[i], a.Process)
		known(enc, LogUser[i], a.User)
		known(enc, LogCmdline[i], a.Cmdline)
		if a.PID != 0 {
			enc.Int(LogPID[i], int64(a.PID))
		}
	}
}

// admit returns the tags an event may have.
func (s *Events) admit(e *Event, now int64) eventKey {
	k := eventKey{e.Type, e.Severity, lineproto.CleanTag(e.Client), lineproto.CleanTag(e.Server)}
	if _, ok := s.series[k]; !ok && !s.stood(&k) && s.full() {
		s.expire(now)
		if s.full() {
			s.stats.Folded++
			if k.client != "" {
				k.client = Other
			}
			if k.server != "" {
				k.server = Other
			}
			return k
		}
	}
	s.series[k] = now
	return k
}

func (s *Events) full() bool { return len(s.series)+len(s.standing) >= maxEventSeries }

func (s *Events) expire(now int64) {
	old := func(used int64) bool { return now-used > s.expiry }
	maps.DeleteFunc(s.series, func(_ eventKey, used int64) bool { return old(used) })
	maps.DeleteFunc(s.standing, func(_ uint64, used int64) bool { return old(used) })
}

// stood says whether an earlier run had the series, which from now on is this one's.
func (s *Events) stood(k *eventKey) bool {
	h := k.hash()
	_, ok := s.standing[h]
	delete(s.standing, h)
	return ok
}

func (k *eventKey) hash() uint64 {
	return xxhash.Sum64String(strings.Join([]string{string(k.kind), string(k.severity), k.client, k.server}, "\x00"))
}

// Standing adds the places of event to to.
func (s *Events) Standing(to Standing) {
	var list []Place
	for k, used := range s.series {
		list = append(list, Place{k.hash(), used})
	}
	for h, used := range s.standing {
		list = append(list, Place{h, used})
	}
	to[MeasurementEvent] = list
}

// Restore takes the places that an earlier Events had. Nothing has been added yet.
func (s *Events) Restore(from Standing) {
	s.standing = map[uint64]int64{}
	for _, p := range from[MeasurementEvent] {
		if !s.full() {
			s.standing[p.Hash] = p.Used
		}
	}
}

func (s *Events) begin() {
	if s.flushed {
		s.flushed = false
		s.rows.begin()
	}
}

// Flush returns the rows written since the last Flush; valid until the next call of
// any method.
func (s *Events) Flush() []*Batch {
	s.begin()
	s.flushed = true
	return s.rows.finish()
}
