package requests

import "github.com/weir-probe/weir/flows/l7"

// Stats counts since the Tracker was made, except Open.
type Stats struct {
	l7.Stats
	Events uint64 // pieces of payload and turns taken
	Own    uint64 // of Events: of the probe's own sockets, left out
	Open   int    // conversations in the table now
	// Evicted conversations had to go for others, Idle ones ended by silence.
	Evicted, Idle uint64
	// Refused pieces of payload are of conversations that are not parsed: too many are,
	// or they hold too much. Outgrown conversations ended because of what they held
	// together with all others.
	Refused, Outgrown uint64
	// Dropped requests and turns were never in a record: of evicted conversations,
	// and of connections of which no record came in time.
	Dropped uint64
	// Requests are all messages told; Errors failed, Unanswered and Lost ones have no
	// answer that was seen.
	Requests, Errors, Unanswered, Lost uint64
	Responses                          uint64 // answers of TCP that were timed
	// Folded messages are counted under `other`: too many operations at once.
	Folded uint64
	// Untimed durations are not in a distribution: there were too many of those.
	Untimed uint64
	// Sampled requests are those that were only counted: each is taken for one like the
	// last before it.
	Sampled uint64
	// Narrowed sockets have been asked for less payload.
	Narrowed uint64
}
