package flows

// listID names the list a flow is on. Each list is ordered by the arrival of the
// newest packet and has one timeout, so that expiry looks only at its tail.
type listID uint8

const (
	listClosed listID = iota // ended, lingering
	listShort                // all but established TCP
	listLong                 // established TCP
	listCount
	listNone
)

const none int32 = -1

// list is doubly linked through flow.next and flow.prev; head is the newest.
type list struct{ head, tail int32 }

// touch moves a flow to the head of the list its state belongs to.
func (m *Meter) touch(slot int32) {
	f := &m.slots[slot]
	id := f.listFor()
	if f.list == id && m.lists[id].head == slot {
		return
	}
	m.unlink(slot)
	l := &m.lists[id]
	f.list, f.prev, f.next = id, none, l.head
	if l.head != none {
		m.slots[l.head].prev = slot
	} else {
		l.tail = slot
	}
	l.head = slot
}

func (f *flow) listFor() listID {
	switch {
	case f.closed:
		return listClosed
	case f.established():
		return listLong
	}
	return listShort
}

func (m *Meter) unlink(slot int32) {
	f := &m.slots[slot]
	if f.list == listNone {
		return
	}
	l := &m.lists[f.list]
	if f.prev != none {
		m.slots[f.prev].next = f.next
	} else {
		l.head = f.next
	}
	if f.next != none {
		m.slots[f.next].prev = f.prev
	} else {
		l.tail = f.prev
	}
	f.list = listNone
}

// oldest returns the flow to give up when the cache is full: one that is over
// anyway, else the longest idle one.
func (m *Meter) oldest() int32 {
	if slot := m.lists[listClosed].tail; slot != none {
		return slot
	}
	short, long := m.lists[listShort].tail, m.lists[listLong].tail
	if long == none || (short != none && m.slots[short].last <= m.slots[long].last) {
		return short
	}
	return long
}
