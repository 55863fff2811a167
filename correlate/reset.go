package correlate

import "github.com/weir-probe/weir/kprobes"

// ResetReason says why an end reset a connection (field `reset_reason` of flow_log).
type ResetReason uint8

const (
	ResetUnknown ResetReason = iota // the peer is elsewhere, or the kernel gave another reason
	ResetUnread                     // it closed over payload that nobody had read (F8)
	ResetLinger                     // SO_LINGER with no time: it wanted to (F9)

	NumResetReasons = iota // the length of an array that a ResetReason indexes
)

var resetNames = [NumResetReasons]string{"", "unread_data", "linger"}

// String returns the field value, "" where it is not known.
func (r ResetReason) String() string { return resetNames[r] }

// resetReason is what the end that reset the connection knows of its reason.
func (c *conn) resetReason(cause CloseCause) ResetReason {
	var e *end
	switch cause {
	case CloseResetByClient:
		e = c.socket(client)
	case CloseResetByServer:
		e = c.socket(server)
	}
	if e == nil || e.errno != 0 {
		return ResetUnknown
	}
	switch e.reset {
	case kprobes.ResetUnread:
		return ResetUnread
	case kprobes.ResetLinger:
		return ResetLinger
	}
	return ResetUnknown
}

// countReset tells why a connection was reset, where that is known.
func (c *conn) countReset(t *Measures, by side, cause CloseCause) {
	if why := c.resetReason(cause); why != ResetUnknown {
		t.Resets[by][why] = 1
	}
}
