package l7

// seek looks for the protocol in b, the next octets of a direction.
func (c *Conversation) seek(d Dir, t int64, turn bool, b []byte) {
	if turn {
		if c.turns++; c.turns > maxTurns {
			c.o.stats.UnparsedOctets += uint64(len(b))
			c.giveUp()
			return
		}
		c.logged = true
		if s := c.judge(d, b); s != nil {
			c.begin(s)
			c.parse(d, t, turn, b)
			return
		}
	}
	whole := c.note(mark{dir: d, turn: turn, time: t}, b)
	c.logged = c.logged && whole
	if turn || !c.logged {
		return
	}
	if s := c.judge(d, c.begun()); s != nil {
		c.begin(s)
	}
}

// judge asks the protocols about the beginning of a turn. Unoriented, only one
// reading of the direction of a stream may fit.
func (c *Conversation) judge(d Dir, b []byte) *Spec {
	specs := c.o.specs[c.kind]
	for i := range specs {
		s := &specs[i]
		straight := c.fits(s, d, c.flip, b)
		if c.oriented {
			if straight {
				return s
			}
			continue
		}
		switch reverse := c.fits(s, d, 1, b); {
		case straight && reverse && c.kind == Datagram:
			return s // a datagram says itself what it is
		case straight == reverse:
			continue
		case reverse:
			c.flip = 1
		}
		c.oriented = true
		return s
	}
	return nil
}

// fits says whether b, read that way, is of s. An answer is not, to what was no
// request of s.
func (c *Conversation) fits(s *Spec, d, flip Dir, b []byte) bool {
	if s.Match(d^flip, b) != Yes {
		return false
	}
	if d^flip == ToServer || c.log == nil {
		return true
	}
	for i := c.log.n - 1; i >= 0; i-- {
		if m := &c.log.mark[i]; m.turn && m.dir != d {
			return s.Match(m.dir^flip, c.log.data[m.off:m.off+m.n]) != No
		}
	}
	return true
}

// begin starts the parser and tells it what has passed.
func (c *Conversation) begin(s *Spec) {
	c.o.stats.Detected[min(s.Protocol, numProtocols-1)]++
	c.protocol, c.phase, c.oriented = s.Protocol, following, true
	c.parser = s.New(c.emit)
	c.sealable, _ = c.parser.(Sealable)
	c.weighed, _ = c.parser.(Weighed)
	c.crowded = 0
	c.weigh(s.Octets)
	c.reweigh()
	l := c.log
	c.log = nil
	if l == nil {
		return
	}
	from := l.first(s, c.flip)
	for i := range l.mark[:l.n] {
		m := &l.mark[i]
		switch {
		case i < from || c.phase == over:
			c.o.stats.UnparsedOctets += uint64(m.n)
		case m.gap != 0:
			c.parser.Gap(m.dir^c.flip, m.gap, m.time)
		default:
			c.parse(m.dir, m.time, m.turn, l.data[m.off:m.off+m.n])
		}
	}
	c.o.give(l)
}

// first is the mark from which on every turn may be of s: what came before it, in
// the middle of something, would only mislead the parser.
func (l *block) first(s *Spec, flip Dir) int {
	from := l.n
	for i := l.n - 1; i >= 0; i-- {
		m := &l.mark[i]
		if !m.turn {
			continue
		}
		if s.Match(m.dir^flip, l.data[m.off:m.off+m.n]) == No {
			break
		}
		from = i
	}
	return from
}

// upgrade begins anew where a connection goes on in TLS or HTTP/2: after
// STARTTLS and its like, CONNECT, Upgrade.
func (c *Conversation) upgrade(t int64, b []byte) {
	if c.protocol == TLS || c.protocol == HTTP2 || c.kind == Datagram {
		return
	}
	specs := c.o.specs[c.kind]
	for i := range specs {
		s := &specs[i]
		if s.Protocol != TLS && s.Protocol != HTTP2 || s.Match(ToServer, b) != Yes {
			continue
		}
		c.parser.End(t)
		c.o.stats.Upgraded++
		c.begin(s)
		return
	}
}

func (c *Conversation) giveUp() {
	c.opaque = true
	c.o.stats.Opaque++
	c.stop(0)
}

// note remembers what passes while the protocol is not known. It says whether all
// of b could be kept.
func (c *Conversation) note(m mark, b []byte) bool {
	if c.log == nil {
		if c.log = c.o.take(); c.log == nil {
			c.o.stats.UnparsedOctets += uint64(len(b))
			return false
		}
	}
	l := c.log
	if l.n+1 >= blockMarks || l.used+len(b) > blockOctets {
		// The beginning is forgotten: the parser will find its place at a turn.
		c.forget()
		if !m.turn || len(b) > blockOctets {
			c.o.stats.UnparsedOctets += uint64(len(b))
			return false
		}
		return c.note(m, b)
	}
	m.off, m.n = uint16(l.used), uint16(len(b))
	l.used += copy(l.data[l.used:], b)
	l.mark[l.n] = m
	l.n++
	return true
}

// begun is the current turn so far, all of which the log holds.
func (c *Conversation) begun() []byte {
	l := c.log
	if l == nil || l.n == 0 {
		return nil
	}
	first := l.n - 1
	for first > 0 && !l.mark[first].turn {
		first--
	}
	return l.data[l.mark[first].off:l.used]
}

// forget gives the log back.
func (c *Conversation) forget() {
	if l := c.log; l != nil {
		c.o.stats.UnparsedOctets += uint64(l.used)
		c.o.give(l)
		c.log = nil
	}
}
