package usage

import (
	"context"
)

// Group is one control group to be read.
type Group struct {
	// Path from the root of its hierarchy; on hosts with v1 and v2 the group of that
	// path in all of them.
	Path string
	// Born is when it was made (unix ns), 0 when that was not seen. Two groups of one
	// path differ in it.
	Born int64
}

// Sample is what a group has used: counters since the round before, or since its
// birth where that came later, gauges now. What was there before the first round has
// no counters in it.
type Sample struct {
	Index int // in Round.Groups, or Processes
	Reading
}

// Round is one reading of every group. It goes from the asker to the Sampler and
// back: whoever has it owns it.
type Round struct {
	// At is the end of the interval that the round is for, Asked when Groups was made
	// (unix ns): a group born since the Asked before is new.
	At, Asked int64
	Groups    []Group
	Samples   []Sample
	// Processes are read beside the groups.
	Processes      []Process
	ProcessSamples []Sample
	// HostOOMKills is how many processes the kernel has killed for want of memory on
	// the whole host since the round before; those in groups are among them.
	HostOOMKills uint64
	// Seconds is how long the reading took.
	Seconds float64
	Stats   Stats
}

// state is what is remembered of a group or a process.
type state struct {
	before Reading
	round  uint64 // it was asked for last
}

// Sampler reads groups. Begin, Ask and Take belong to one goroutine, the asker's;
// Run reads in another.
type Sampler struct {
	cfg  Config
	idle *Round // nil while Run has it
	late uint64
	ask  chan *Round
	done chan *Round

	// Run's own.
	layout    *Layout
	reader    reader
	states    map[Group]*state
	processes map[Process]*state
	asked     int64   // of the round before, at first Config.Since
	host      Reading // totals of the whole host
	hostNow   Reading // and their increase
	stats     Stats
}

// New returns a Sampler that has read nothing.
func New(cfg Config) *Sampler {
	return &Sampler{
		cfg: cfg.withDefaults(), idle: new(Round), states: map[Group]*state{}, processes: map[Process]*state{}, asked: cfg.Since,
		ask: make(chan *Round, 1), done: make(chan *Round, 1),
	}
}

// Late is how often a round was not asked for because the one before was not done:
// the next one tells what both would have.
func (s *Sampler) Late() uint64 { return s.late }

// Begin returns a round to be filled in and asked for, with nothing in it but the
// memory of the last one; nil while that is being read.
func (s *Sampler) Begin() *Round {
	if s.idle == nil {
		s.late++
		return nil
	}
	s.idle.Groups, s.idle.Samples = s.idle.Groups[:0], s.idle.Samples[:0]
	s.idle.Processes, s.idle.ProcessSamples = s.idle.Processes[:0], s.idle.ProcessSamples[:0]
	return s.idle
}

// Ask has the round that Begin returned read. It does not wait.
func (s *Sampler) Ask() {
	s.ask <- s.idle // there is room: there is but one
	s.idle = nil
}

// Take returns a round that has been read, valid until the next Begin; nil when
// there is none.
func (s *Sampler) Take() *Round {
	select {
	case s.idle = <-s.done:
		return s.idle
	default:
		return nil
	}
}

// Wait is Take that waits for a round that was asked for, until ctx is done.
func (s *Sampler) Wait(ctx context.Context) *Round {
	if s.idle != nil {
		return nil
	}
	select {
	case s.idle = <-s.done:
		return s.idle
	case <-ctx.Done():
		return nil
	}
}

// Run reads what is asked for until ctx is done.
func (s *Sampler) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.ask:
			s.read(r)
			s.done <- r // there is room: there is but one
		}
	}
}
