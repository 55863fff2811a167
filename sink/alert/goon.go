package alert

import "time"

// goOn makes list all that the receiver knows to go on.
func (r *receiver) goOn(now time.Time, list []Alert) {
	r.mu.Lock()
	defer r.mu.Unlock()
	on := make(map[string]bool, len(list))
	for i := range list {
		a := &list[i]
		key := a.key()
		on[key] = true
		switch {
		case r.known[key] != nil, !r.to.wants(a):
		case len(r.known) >= maxKnown:
			r.stats.Full++
		default:
			r.known[key] = &entry{item: item{Alert: *a, key: key, began: a.Began, changed: now}, told: firing, toldAt: now, toldAs: a.Severity}
		}
	}
	for key, e := range r.known {
		if e.once() || e.Resolved || on[key] {
			continue
		}
		e.count++
		r.version++
		e.Resolved, e.changed, e.version = true, now, r.version
		r.queue(e)
	}
}
