package l7

// place puts one segment of a stream into order. n is its payload, b what was
// copied of it.
func (c *Conversation) place(d Dir, seq, n uint32, t int64, b []byte) {
	h := &c.half[d]
	if !h.known {
		h.next, h.base, h.known, h.young = seq, seq, true, true
	}
	switch ahead := int32(seq - h.next); {
	case ahead > maxJump || ahead < -maxJump:
		// Another place altogether: the numbers were rewritten, or a long stretch
		// was not seen.
		c.flush(d)
		h.next = seq
		c.gap(d, -1, t)
	case ahead > 0:
		if len(b) > 0 && c.hold(d, seq, n, t, b) {
			return
		}
		c.flushTo(d, seq, t)
	case ahead < 0:
		c.o.stats.Repeated++
		if h.young && int32(seq-h.base) < 0 {
			// The first segment seen was not the first: what it was taken for is wrong.
			h.base = seq
			c.gap(d, -1, t)
		}
	}
	c.next(d, seq, n, t, b)
	c.resume(d)
}

// follow takes a segment that no earlier one comes after.
func (c *Conversation) follow(d Dir, seq, n uint32, t int64, b []byte) {
	h := &c.half[d]
	missing := int64(int32(seq - h.next))
	known := h.known
	h.next, h.known = seq, true
	if known && missing != 0 {
		c.gap(d, max(missing, -1), t) // going back: another beginning
	}
	c.next(d, seq, n, t, b)
}

// next passes on a segment that begins at, or before, the next octet.
func (c *Conversation) next(d Dir, seq, n uint32, t int64, b []byte) {
	h := &c.half[d]
	passed := h.next - seq
	if passed >= n || c.phase == over {
		return
	}
	b = b[min(int(passed), len(b)):]
	n -= passed
	h.next += n
	c.data(d, t, b)
	if rest := int64(n) - int64(len(b)); rest > 0 && c.phase != over {
		c.gap(d, rest, t)
	}
}

// hold keeps a segment until what is missing before it has come.
func (c *Conversation) hold(d Dir, seq, n uint32, t int64, data []byte) bool {
	h := &c.half[d]
	at := &h.held
	for *at != nil && int32((*at).seq-seq) < 0 {
		at = &(*at).next
	}
	if b := *at; b != nil && b.seq == seq && b.size >= n {
		c.o.stats.Repeated++
		return true
	}
	if h.n >= maxHeld {
		return false
	}
	b := c.o.take()
	if b == nil {
		return false
	}
	c.o.stats.Reordered++
	b.seq, b.size, b.time = seq, n, t
	b.used = copy(b.data[:], data)
	b.next = *at
	*at = b
	h.n++
	return true
}

// resume passes on what waited for the octets that have come.
func (c *Conversation) resume(d Dir) {
	h := &c.half[d]
	for h.held != nil && int32(h.held.seq-h.next) <= 0 {
		b := h.held
		h.held = b.next
		h.n--
		c.next(d, b.seq, b.size, b.time, b.data[:b.used])
		c.o.give(b)
	}
}

// flush passes on all that waits: what is missing between will not come.
func (c *Conversation) flush(d Dir) {
	h := &c.half[d]
	for h.held != nil && c.phase != over {
		c.jump(d, h.held.seq, h.held.time)
		c.resume(d)
	}
}

// flushTo is flush up to seq, the place of a segment that cannot wait.
func (c *Conversation) flushTo(d Dir, seq uint32, t int64) {
	h := &c.half[d]
	for h.held != nil && int32(h.held.seq-seq) < 0 && c.phase != over {
		c.jump(d, h.held.seq, h.held.time)
		c.resume(d)
	}
	c.jump(d, seq, t)
}

// jump gives up the octets before seq.
func (c *Conversation) jump(d Dir, seq uint32, t int64) {
	h := &c.half[d]
	if n := seq - h.next; int32(n) > 0 && c.phase != over {
		h.next = seq
		c.gap(d, int64(n), t)
	}
}

// drop gives back what waits.
func (c *Conversation) drop(d Dir) {
	h := &c.half[d]
	for ; h.held != nil; h.n-- {
		b := h.held
		h.held = b.next
		c.o.stats.UnparsedOctets += uint64(b.used)
		c.o.give(b)
	}
}
