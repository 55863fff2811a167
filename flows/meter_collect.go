package flows

// Collect emits a record for every flow that ended since the last call and for
// every living flow that changed (with ActiveTimeout, once that has passed
// since its last record). now is unix ns; idle timeouts run against it. The
// record passed to emit is reused: copy what is kept.
//
// Ended flows come first, in the order they ended, so that the end of an
// instance precedes the records of the next one on the same ports.
func (m *Meter) Collect(now int64, emit func(*Record)) {
	m.emitEnded(emit)
	m.expire(listClosed, now-int64(m.config.Linger), EndOfFlow, emit)
	m.expire(listShort, now-int64(m.config.IdleTimeout), EndIdle, emit)
	m.expire(listLong, now-int64(m.config.TCPIdleTimeout), EndIdle, emit)

	kept := m.dirty[:0]
	for _, slot := range m.dirty {
		f := &m.slots[slot]
		if !f.dirty {
			f.queued = false
			continue
		}
		reason := EndNone
		if active := int64(m.config.ActiveTimeout); active > 0 {
			if now-f.reported < active {
				kept = append(kept, slot)
				continue
			}
			reason = EndActive
		}
		f.queued = false
		f.reported = now
		f.fill(&m.record, reason)
		m.stats.Records++
		emit(&m.record)
	}
	m.dirty = kept
}

// Flush emits what is unreported of every flow and empties the cache: flows
// whose end was seen with EndOfFlow, the others with EndForced.
func (m *Meter) Flush(emit func(*Record)) {
	m.emitEnded(emit)
	m.expire(listClosed, maxTime, EndOfFlow, emit)
	m.expire(listShort, maxTime, EndForced, emit)
	m.expire(listLong, maxTime, EndForced, emit)
	for _, slot := range m.dirty {
		m.slots[slot].queued = false
	}
	m.dirty = m.dirty[:0]
}

const maxTime = 1<<63 - 1

func (m *Meter) emitEnded(emit func(*Record)) {
	for i := range m.ended {
		m.stats.Records++
		emit(&m.ended[i])
	}
	m.ended = m.ended[:0]
}

// expire ends the flows of a list whose newest packet is not younger than limit.
func (m *Meter) expire(id listID, limit int64, reason EndReason, emit func(*Record)) {
	for {
		slot := m.lists[id].tail
		if slot == none || m.slots[slot].last > limit {
			return
		}
		m.slots[slot].fill(&m.record, reason)
		m.release(slot)
		m.stats.Records++
		emit(&m.record)
	}
}
