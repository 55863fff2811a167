package l7

// Bounds of one conversation.
const (
	maxHeld  = 8       // segments per direction that wait for an earlier one
	maxJump  = 1 << 28 // octets; further ahead is no hole but another place
	maxTurns = 8       // turns in which the protocol must be recognised
	// maxUpgrades is in how many pieces from the client another protocol may begin.
	maxUpgrades = 8
)

type phase uint8

const (
	seeking   phase = iota // the protocol is not known yet
	following              // a parser is at work
	over                   // opaque, or ended
)

// Conversation is one connection, or what a datagram socket exchanges with one
// peer: it puts payload in order, finds out which protocol it is, and drives the
// parser. It is used by the goroutine of its Observer. The zero value must be
// opened first; one that has ended may be opened again.
type Conversation struct {
	o        *Observer
	emit     func(*Message)
	parser   Parser
	sealable Sealable // parser, if it is one
	weighed  Weighed  // parser, if it is one
	weight   int      // of the parser, in octets, as far as the Observer knows
	crowded  uint64   // what of it the Observer has counted
	protocol Protocol
	kind     Kind
	phase    phase
	opaque   bool
	oriented bool
	flip     Dir // added to a Segment's direction
	turns    uint8
	upgrades uint8
	half     [2]half
	log      *block // what passed while seeking, to be told to the parser
	logged   bool   // the log holds the current turn from its first octet
	chunk    Chunk
}

// Sealable is a Parser that may come to what it cannot read: once Opaque, nothing
// more is worth copying, and its conversation ends.
type Sealable interface {
	Opaque() bool
}

// Skippable is a Parser of a protocol in which one exchange of request and answer tells
// nothing of the next: while it is Idle, with nothing begun and nothing open, whole
// exchanges may be kept from it.
type Skippable interface {
	Idle() bool
}

// Skippable says whether whole exchanges may be kept from the conversation.
func (c *Conversation) Skippable() bool {
	_, ok := c.parser.(Skippable)
	return ok && c.phase == following
}

// Skip says that whole exchanges passed of which nothing was told. The next octet of d,
// which speaks next, has the sequence number seq, that of the other direction other.
func (c *Conversation) Skip(d Dir, seq, other uint32, t int64) {
	if c.phase == over {
		return
	}
	for _, d := range [...]Dir{ToServer, ToClient} {
		c.flush(d)
	}
	if p, ok := c.parser.(Skippable); c.phase != over && !(ok && p.Idle()) {
		c.gap(d.Opposite(), -1, t)
		c.gap(d, -1, t)
	}
	for _, x := range [...]struct {
		d   Dir
		seq uint32
	}{{d, seq}, {d.Opposite(), other}} {
		h := &c.half[x.d]
		h.next, h.known, h.young, h.spoken, h.turn = x.seq, true, false, x.d != d, 0
	}
}

// half is one direction, as the Segments name it.
type half struct {
	next   uint32 // sequence number of the next octet, valid iff known
	base   uint32 // of the first octet, valid iff known and young
	known  bool
	young  bool // in its first turn
	spoken bool // the last to speak: what comes is no new turn
	held   *block
	n      int
	turn   uint64 // octets of the current turn, gaps included
}

// Open begins a conversation. emit is called from within its methods.
func (c *Conversation) Open(o *Observer, k Kind, as Orientation, emit func(*Message)) {
	*c = Conversation{o: o, kind: k, emit: emit}
	c.Orient(as)
	o.stats.Conversations++
	if len(o.specs[k]) == 0 {
		c.giveUp()
	}
}

// Orient tells how directions are to be read; it does not change what content told
// already.
func (c *Conversation) Orient(as Orientation) {
	if c.oriented || as == Unoriented || c.phase == following {
		return
	}
	c.oriented = true
	if as == Reversed {
		c.flip = 1
	}
}

// Expect tells that the first octet of a direction, which has not spoken yet, has
// this sequence number: the SYN was seen.
func (c *Conversation) Expect(d Dir, seq uint32) {
	if h := &c.half[d]; !h.known {
		h.next, h.known = seq, true
	}
}

// Protocol is the recognised one.
func (c *Conversation) Protocol() Protocol { return c.protocol }

// Opaque says whether the protocol could not be recognised.
func (c *Conversation) Opaque() bool { return c.opaque }

// Wants says whether more payload is of use.
func (c *Conversation) Wants() bool { return c.phase != over }

// Segment takes the next packet.
func (c *Conversation) Segment(s *Segment) {
	data := s.Data[:min(len(s.Data), int(s.Len))]
	switch {
	case c.phase == over:
		c.o.stats.UnparsedOctets += uint64(len(data))
	case c.kind == Datagram:
		c.half[s.Dir].spoken = false
		c.data(s.Dir, s.Time, data)
	case s.InOrder:
		c.follow(s.Dir, s.Seq, s.Len, s.Time, data)
	default:
		if s.Turn && s.PrevOctets > 0 {
			c.settle(s)
		}
		c.place(s.Dir, s.Seq, s.Len, s.Time, data)
	}
}

// End says that the conversation is over at t, or idle for good.
func (c *Conversation) End(t int64) {
	if c.phase == over {
		return
	}
	for d := range c.half {
		c.flush(Dir(d))
	}
	c.stop(t)
}

// stop ends the parser and gives back the memory.
func (c *Conversation) stop(t int64) {
	if c.parser != nil {
		p := c.parser
		c.parser, c.sealable = nil, nil
		p.End(t)
		c.weigh(0)
		c.weighed = nil
	}
	c.phase = over
	c.forget()
	for d := range c.half {
		for h := &c.half[d]; h.held != nil; h.n-- {
			b := h.held
			h.held = b.next
			c.o.give(b)
		}
	}
}

// settle tells what was not copied of the turn that s ends.
func (c *Conversation) settle(s *Segment) {
	d := s.Dir.Opposite()
	h := &c.half[d]
	h.young = false
	switch {
	case !h.known:
		h.next, h.known = s.PrevNextSeq, true
		c.gap(d, int64(s.PrevOctets), s.PrevLast)
		return
	case s.PrevOctets >= 1<<31: // sequence numbers went round, or nearly
		n := int64(s.PrevOctets) - int64(h.turn)
		c.drop(d)
		h.next = s.PrevNextSeq
		if n > 0 {
			c.gap(d, n, s.PrevLast)
		}
		return
	}
	c.flush(d)
	if n := s.PrevNextSeq - h.next; c.phase != over && int32(n) > 0 {
		h.next = s.PrevNextSeq
		c.gap(d, int64(n), s.PrevLast)
	}
}

// data gives octets of a direction, in order, to who wants them.
func (c *Conversation) data(d Dir, t int64, b []byte) {
	if len(b) == 0 || c.phase == over {
		return
	}
	turn := c.speak(d, uint64(len(b)))
	if c.phase == seeking {
		c.seek(d, t, turn, b)
	} else {
		c.parse(d, t, turn, b)
	}
}

// speak notes who speaks and says whether a turn begins.
func (c *Conversation) speak(d Dir, octets uint64) (turn bool) {
	h := &c.half[d]
	if turn = !h.spoken; turn {
		h.turn = 0
	}
	h.spoken, c.half[d.Opposite()].spoken = true, false
	h.turn += octets
	return turn
}

func (c *Conversation) parse(d Dir, t int64, turn bool, b []byte) {
	d ^= c.flip
	if d == ToServer && c.upgrades < maxUpgrades {
		c.upgrades++
		c.upgrade(t, b)
	}
	c.o.stats.ParsedOctets += uint64(len(b))
	c.chunk = Chunk{Dir: d, Time: t, Turn: turn, Data: b}
	c.parser.Data(&c.chunk)
	c.chunk.Data = nil
	c.reweigh()
	c.seal(t)
}

// reweigh asks the parser what it holds now.
func (c *Conversation) reweigh() {
	if c.weighed == nil {
		return
	}
	octets, crowded := c.weighed.Weight()
	c.weigh(octets)
	c.o.stats.Crowded += crowded - c.crowded
	c.crowded = crowded
}

// weigh tells the Observer what the parser holds.
func (c *Conversation) weigh(octets int) {
	c.o.held += octets - c.weight
	c.weight = octets
}

// seal ends the conversation if nothing more can be told of it.
func (c *Conversation) seal(t int64) {
	if c.sealable != nil && c.sealable.Opaque() {
		c.stop(t)
	}
}

// gap tells that n octets are missing, or an unknown number for n < 0.
func (c *Conversation) gap(d Dir, n int64, t int64) {
	c.speak(d, uint64(max(n, 0)))
	c.o.stats.Gaps++
	c.o.stats.GapOctets += uint64(max(n, 0))
	switch c.phase {
	case seeking:
		if c.logged = false; c.log == nil {
			return
		}
		c.note(mark{dir: d, gap: n, time: t}, nil)
	case following:
		c.parser.Gap(d^c.flip, n, t)
		c.reweigh()
		c.seal(t)
	}
}
