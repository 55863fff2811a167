package open

import "github.com/weir-probe/weir/flows/l7"

const (
	// Quiet is how long a connection must have been silent for nothing to be open any
	// more, whatever it did before, ns.
	Quiet = 100e6
	// trust is how many turns of the client in a row must have begun with nothing
	// open for the next to be taken for such a one, too.
	trust = 32
	// patience is trust in a protocol whose clients are made to wait (Patient).
	patience = 2
)

// Place follows whether a parser knows where it is in each direction of a
// connection that answers in order, and when it may begin again: a hole may have
// swallowed requests or answers, and one answer off would be wrong for ever. The
// zero Place has not begun.
//
// It begins again when the client speaks after the server did. Most clients then
// have all their answers. One that has not (other threads of it, or an asynchronous
// one, use the connection) cannot be known from the other kind by the order of
// what it says; so what follows is in doubt until nothing has passed for a while or,
// of a client that was never seen to do so, it has waited for all its answers many
// times in a row. With one that was seen to do so it begins again after silence
// only. One that does so seldom, and in a hole, can still be mistaken.
type Place struct {
	// Patient says that in this protocol a client that asks again before it has its
	// answer is the exception: then turns that begin anew after the server spoke are
	// counted, too, and few are enough. Else every large answer, of which most is a
	// hole, would put the next request in doubt.
	Patient bool

	known [2]bool
	// resync says that the next turn of the server begins an answer.
	resync      bool
	begun       bool
	doubt       bool
	interleaves bool
	clean       int // turns of the client in a row at which nothing was open
	last        int64
}

// Step is what a parser is to do with a chunk.
type Step uint8

const (
	Skip    Step = iota // its place in the stream is not known
	Go                  // go on
	Restart             // begin anew with the first octet; what was half read is gone
	Reopen              // go on, but what is open will not be found in the other direction
)

// Lose says that the place in a direction is lost, in a hole or in nonsense; of a
// hole it must be told even if the place was not known.
func (p *Place) Lose(d l7.Dir) {
	p.begin()
	p.known[d] = false
	if d == l7.ToClient {
		p.resync = false
	}
}

// Lost says whether the place in a direction is not known, and the next turn of
// the server will not give it either.
func (p *Place) Lost(d l7.Dir) bool {
	return !p.known[d] && !(d == l7.ToClient && p.resync)
}

// Doubt says that an answer may belong to a request before the one it seems to
// answer: it is to be told as Lost.
func (p *Place) Doubt() bool { return p.doubt }

// Begins says that the connection begins here: nothing was asked before.
func (p *Place) Begins() {
	p.begin()
	p.known = [2]bool{true, true}
	p.doubt, p.resync = false, false
}

// Surprise says that an answer came while nothing was open.
func (p *Place) Surprise() {
	p.clean = 0
	if p.doubt {
		p.interleaves = true
	}
}

// Chunk returns what to do with c while n requests are open. At Reopen, and at
// Restart of the direction to the server, all of them are lost.
func (p *Place) Chunk(c *l7.Chunk, n int) Step {
	silence := c.Time - p.last
	p.last = max(p.last, c.Time)
	if !p.begun {
		p.begin()
		silence = Quiet
	}
	if c.Dir == l7.ToClient {
		switch {
		case p.known[l7.ToClient]:
			return Go
		case p.resync && c.Turn:
			p.known[l7.ToClient] = true
			p.resync = false
			return Restart
		}
		return Skip
	}
	if p.known[l7.ToServer] && (p.known[l7.ToClient] || p.resync) {
		if !c.Turn || !p.known[l7.ToClient] {
			return Go
		}
		return p.turn(n, silence)
	}
	switch {
	case c.Turn && (!p.interleaves || silence >= Quiet):
		p.again(n, silence)
	case p.known[l7.ToServer]:
		return Go
	default:
		return Skip
	}
	p.resync = !p.known[l7.ToClient]
	if p.known[l7.ToServer] {
		return Reopen
	}
	p.known[l7.ToServer] = true
	return Restart
}

func (p *Place) begin() {
	p.resync = p.resync || !p.begun
	p.begun = true
}

// turn takes a turn of the client while its place is known.
func (p *Place) turn(n int, silence int64) Step {
	if p.doubt && silence >= Quiet {
		p.doubt = false
		if n > 0 {
			return Reopen // all have been answered, and the count was wrong
		}
	}
	if n > 0 {
		p.interleaves, p.clean = true, 0
		return Go
	}
	p.clean = min(p.clean+1, trust)
	if p.trusted() {
		p.doubt = false
	}
	return Go
}

func (p *Place) trusted() bool {
	return !p.interleaves && (p.clean >= trust || p.Patient && p.clean >= patience)
}

// again takes the turn of the client at which it begins again, with n requests open.
func (p *Place) again(n int, silence int64) {
	if p.Patient && n == 0 {
		p.clean = min(p.clean+1, trust)
	}
	p.doubt = silence < Quiet && !p.trusted()
	if p.doubt && !p.Patient {
		p.clean = 0
	}
}
