package main

import (
	"fmt"
	"time"

	"github.com/weir-probe/weir/correlate/requests"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/protocols"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// How much is read of payload: the setting l7.
const (
	l7On    = "on"    // turns are timed, application protocols parsed
	l7Turns = "turns" // turns are timed, no octet of payload is copied
	l7Off   = "off"   // nothing is looked at
)

// maxL7Octets is the most that the kernel copies of a turn.
const maxL7Octets = 4096

// defaultL7Rate is how many requests per second and CPU are told in full where there are
// more (of protocols of which a request says nothing of the next), maxL7Rate the most.
const (
	defaultL7Rate = 2500
	maxL7Rate     = 10_000_000
)

func (c *Config) validateL7() error {
	if c.L7Octets < 1 || c.L7Octets > maxL7Octets {
		return fmt.Errorf("l7_octets %d: must be 1 to %d", c.L7Octets, maxL7Octets)
	}
	if c.L7Rate < 1 || c.L7Rate > maxL7Rate {
		return fmt.Errorf("l7_rate %d: must be 1 to %d requests per second and CPU", c.L7Rate, maxL7Rate)
	}
	return oneOf("l7", c.L7, l7On, l7Turns, l7Off)
}

// newTracker returns what cfg asks for, nil where payload is not looked at.
// selector may be nil.
func newTracker(cfg *Config, selector requests.Selector) *requests.Tracker {
	var specs []l7.Spec
	switch cfg.L7 {
	case l7Off:
		return nil
	case l7On:
		specs = protocols.All()
	}
	return requests.New(requests.Config{}, specs, selector)
}

// payloadConfig adds to c how much payload the kernel is to copy.
func payloadConfig(c kprobes.Config, cfg *Config) kprobes.Config {
	c.Payload, c.PayloadOctets, c.PayloadRate, c.TLS = cfg.L7 != l7Off, cfg.L7Octets, cfg.L7Rate, len(cfg.TLS) > 0
	if cfg.L7 == l7Turns {
		c.PayloadOctets = kprobes.PayloadNone
	}
	return c
}

// payloadSelector passes on what the tracker wants of a socket; what could not be
// said is counted there.
type payloadSelector struct{ sockets socketPath }

func (p payloadSelector) SetPayload(cookie uint64, w requests.Want) {
	_ = p.sockets.SetPayload(cookie, [...]kprobes.PayloadWant{
		requests.WantAll: kprobes.PayloadFull, requests.WantTurns: kprobes.PayloadTurns, requests.WantNothing: kprobes.PayloadOff,
		requests.WantSome: kprobes.PayloadSampleIn, requests.WantSomeSent: kprobes.PayloadSampleOut,
	}[w])
}

// selfL7 writes the row of the stage that t is, and returns what it lost so far.
func selfL7(s *sink.Self, at time.Time, t *requests.Tracker, k kprobes.PayloadStats) uint64 {
	if t == nil {
		return 0
	}
	st := t.Stats()
	lost := st.Dropped + k.Lost + k.NoStorage + k.Unparsed
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageL7, n, v) }
	fields := []sink.SelfField{
		m(sink.SelfSeen, st.Events), m(sink.SelfOwnEvents, st.Own), sink.SelfConnections.Is(uint64(st.Open)),
		m(sink.SelfConversations, st.Conversations), m(sink.SelfOpaque, st.Opaque), m(sink.SelfUpgraded, st.Upgraded),
		m(sink.SelfIdle, st.Idle), m(sink.SelfEvicted, st.Evicted), m(sink.SelfLost, lost), m(sink.SelfDropped, st.Dropped),
		m(sink.SelfMessages, st.Requests), m(sink.SelfMessageErrors, st.Errors), m(sink.SelfUnanswered, st.Unanswered),
		m(sink.SelfLostMessages, st.Lost), m(sink.SelfFolded, st.Folded), m(sink.SelfUntimed, st.Untimed),
		m(sink.SelfResponses, st.Responses), m(sink.SelfNarrowed, st.Narrowed),
		m(sink.SelfSampled, st.Sampled), m(sink.SelfSkipped, k.Skipped),
		m(sink.SelfGaps, st.Gaps), m(sink.SelfGapBytes, st.GapOctets), m(sink.SelfParsedBytes, st.ParsedOctets),
		m(sink.SelfUnparsedBytes, st.UnparsedOctets), m(sink.SelfReordered, st.Reordered), m(sink.SelfRepeated, st.Repeated),
		m(sink.SelfNoRoom, st.NoRoom+st.Refused), sink.SelfParserBytes.Is(st.Held),
		m(sink.SelfCrowded, st.Crowded), m(sink.SelfOutgrown, st.Outgrown),
		m(sink.SelfRecords, k.Records), m(sink.SelfCopiedBytes, k.Copied), m(sink.SelfLostRingFull, k.Lost), m(sink.SelfLostBytes, k.LostOctets),
		m(sink.SelfNoStorage, k.NoStorage), m(sink.SelfUnparsed, k.Unparsed), m(sink.SelfErrors, k.WantErrors),
	}
	for p, n := range st.Detected {
		if l7.Protocol(p) != l7.Unknown {
			fields = append(fields, m(sink.SelfDetected[p], n))
		}
	}
	s.Stage(at, sink.StageL7, fields...)
	return lost
}
