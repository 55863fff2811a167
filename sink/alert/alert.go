package alert

import (
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// Alert is something that people are to be told.
type Alert struct {
	// Fingerprint is the same for the same trouble as long as it lasts; who says that it
	// began says that it is over. Empty: it is over as soon as it happened, as an OOM kill
	// is; such alerts repeat each other where type, client and server are equal.
	Fingerprint string
	sink.Event
	Resolved bool
	// Began is when it did, if that is known better than from when it is told first.
	Began time.Time
}

// once says that nobody will say that it is over.
func (a *Alert) once() bool { return a.Fingerprint == "" }

// key identifies the trouble; a fingerprint never equals what is made up here.
func (a *Alert) key() string {
	if !a.once() {
		return "f\x00" + a.Fingerprint
	}
	return strings.Join([]string{"e", string(a.Type), a.Client, a.Server}, "\x00")
}

// status is what became of an alert.
type status string

const (
	firing   status = "firing"   // goes on
	resolved status = "resolved" // is over
	happened status = "event"    // will not be told to be over
)

func (a *Alert) status() status {
	switch {
	case a.Resolved:
		return resolved
	case a.once():
		return happened
	}
	return firing
}

var rank = map[sink.Severity]int{sink.SeverityInfo: 1, sink.SeverityWarning: 2, sink.SeverityError: 3}

// item is an alert as it stands when a message is made.
type item struct {
	Alert
	key     string
	version uint64
	began   time.Time
	changed time.Time // the end of what is resolved, the last time of what happened
	count   int       // how often it happened since it was last told
	// was is the severity under which the receiver knows it, if that is another one.
	was sink.Severity
}

// message is what one request tells.
type message struct {
	host, version string
	pages         string // where Grafana is
	now           time.Time
	items         []item
	lost          uint64 // alerts that this receiver never got, since the start
}

// about is who an alert is about, in words.
func (a *Alert) about() string {
	switch "" {
	case a.Client:
		return a.Server
	case a.Server: // who scans
		return a.Client
	}
	return a.Client + " → " + a.Server
}
