package sink

import (
	"time"
)

// DeliverStats counts what a Deliverer did since it was made; those marked gauge
// are of now.
type DeliverStats struct {
	Rows       uint64 // accepted by the sink
	Bytes      uint64 // of line protocol, accepted
	Batches    uint64 // requests that succeeded
	Retries    uint64 // requests that failed and were sent again
	Throttled  uint64 // … because the server asked to wait
	Misconfig  uint64 // … because something has to be changed by somebody
	ServerFull uint64 // … of these: because the server has no room
	Failed     uint64 // … for any other reason: unreachable, timeout, 5xx
	Splits     uint64 // requests halved: too large, or a bad row in them
	AckErrors  uint64 // places in the journal that could not be kept

	// Rows the sink refused for good, by reason.
	RejectedType      uint64 // field_type_conflict
	RejectedRetention uint64 // retention: older than the database keeps
	RejectedParse     uint64 // parse
	RejectedTooLarge  uint64 // too_large: one row alone is
	RejectedOther     uint64

	Queue     Depth  // gauge; Queue.Lost counts
	LastError string // of the trouble it is in now, "" when all is well
	Since     time.Time
}

// Rejected rows of all reasons.
func (s *DeliverStats) Rejected() uint64 {
	return s.RejectedType + s.RejectedRetention + s.RejectedParse + s.RejectedTooLarge + s.RejectedOther
}

// Reasons of RejectedError and RefusedError.
const (
	ReasonType      = "field_type_conflict"
	ReasonRetention = "retention"
	ReasonParse     = "parse"
	ReasonTooLarge  = "too_large"
	ReasonOther     = "other"
)

func (s *DeliverStats) reject(reason string, rows uint64) {
	switch reason {
	case ReasonType:
		s.RejectedType += rows
	case ReasonRetention:
		s.RejectedRetention += rows
	case ReasonParse:
		s.RejectedParse += rows
	case ReasonTooLarge:
		s.RejectedTooLarge += rows
	default:
		s.RejectedOther += rows
	}
}
