package sink

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stream says where a batch belongs: each has its own bucket (or database) and
// is delivered in its own order, so that one missing bucket never holds up the
// other.
type Stream uint8

const (
	Main    Stream = iota // flow, flow_latency, flow_error, l7, container, event, weir_*
	Log                   // flow_log
	Streams               // how many there are
)

var streamNames = [...]string{"main", "log"}

func (s Stream) String() string { return streamNames[s] }

// Batch is a run of complete line-protocol lines (each ends in '\n'), encoded
// once: what the journal keeps, what a file gets and what InfluxDB is sent are
// the same octets.
type Batch struct {
	Stream Stream
	Time   int64 // unix ns of the newest row
	Rows   int
	Lines  []byte
}

// Sink is where batches end. Write is all or error: nil means that every row is
// accepted or was explained away by a *RejectedError. It is called from one
// goroutine per stream, must honour ctx, and must not keep b.Lines.
type Sink interface {
	Name() string // stable: the key of its place in the journal
	Write(ctx context.Context, b *Batch) error
	Close(ctx context.Context) error
}

// Late is a Sink with advice about rows that come so long after their time; "" is none.
type Late interface {
	Late(after time.Duration) string
}

// ErrTooLarge says that the server refuses a body of this size (413): split it.
var ErrTooLarge = errors.New("request too large for the server")

// ErrNoAnswer says that the server took longer than a request may: it may have taken
// the rows or not. Send them again, fewer at a time.
var ErrNoAnswer = errors.New("no answer in time")

// ErrServerFull, in a ConfigError, says that the server has no room to keep rows.
var ErrServerFull = errors.New("the server's disk is full")

// ThrottleError says that the server wants to be left alone for a while
// (429, 503); retry the same batch after RetryAfter (0: the caller's backoff).
type ThrottleError struct {
	RetryAfter time.Duration
	Err        error
}

func (e *ThrottleError) Error() string { return fmt.Sprintf("throttled: %v", e.Err) }
func (e *ThrottleError) Unwrap() error { return e.Err }

// ConfigError says that nothing will succeed until somebody changes something
// (wrong token, missing bucket): explain it, keep the data, retry slowly.
type ConfigError struct {
	Remedy string
	Err    error
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%v: %s", e.Err, e.Remedy) }
func (e *ConfigError) Unwrap() error { return e.Err }

// RejectedError says that the server refused Rows rows for good (malformed,
// field type conflict, beyond retention) and that sending them again will not
// help; the other rows of the batch were accepted. The caller counts it and goes on.
type RejectedError struct {
	Rows   int
	Reason string // a bounded word for the counter: field_type_conflict, retention, parse, other
	Remedy string // so that the next ones are not; "" where none is known
	Err    error
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d rows rejected (%s): %v", e.Rows, e.Reason, e.Err)
}
func (e *RejectedError) Unwrap() error { return e.Err }

// RefusedError says that the server refused the whole request for the sake of
// some row in it, and accepted none. The caller splits it to find that row.
type RefusedError struct {
	Reason string // as in RejectedError
	Err    error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("request refused (%s): %v", e.Reason, e.Err)
}
func (e *RefusedError) Unwrap() error { return e.Err }
