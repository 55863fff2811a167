package sink

import "time"

// level is how coarse a row's tags are. Under pressure of the series budget a
// record goes to the first level that has a series for it or room for one.
type level uint8

const (
	levelProcess   level = iota // everything that is known
	levelContainer              // process tags dropped
	levelWorkload               // containers folded into their workload or Compose service
	levelOneEnd                 // the end nobody knew folded into other
	levelOther                  // both ends folded into other
	levelLast                   // and the port, whether zones are crossed, and protocols without a name: always admitted
	levels
)

// shares of the budget that may be in use for a series of that level to be
// admitted. What is left above a level's share is room for the coarser ones,
// so that whatever comes, the totals find a row to be in.
var shares = [levels]float64{0.60, 0.75, 0.85, 0.93, 1, 1}

// reserve is the room kept for levelLast: 8 protocols × 4 reporters × 3
// attributions in flow, 8 × 4 × 6 end reasons in flow_log, and some.
const reserve = 256

// budget admits series of one measurement.
//
// Up to half of a level's share a series is admitted when it is first asked
// for. From there on it must have been asked for in an earlier interval
// already: what lives for one interval only (a batch job's container, a
// crawler's target) does not take the place of what stays. Admitted series stay
// until they have not been used for the expiry time.
type budget struct {
	limits [levels]int
	used   int
	asked  memory
	// standing are series that an earlier run has admitted and nobody has asked for in
	// this one yet, with when they were last used; they count as used.
	standing map[uint64]int64
}

func newBudget(series int) *budget {
	b := &budget{asked: newMemory(series)}
	for l, s := range shares {
		b.limits[l] = int(float64(series-reserve) * s)
	}
	b.limits[levelLast] = series
	return b
}

// room says whether a series of that level could be admitted at all.
func (b *budget) room(l level) bool { return b.used < b.limits[l] }

// admit says whether a new series may be made, and counts it. now is the
// interval's time.
func (b *budget) admit(l level, hash uint64, now int64) bool {
	if _, ok := b.standing[hash]; ok {
		delete(b.standing, hash)
		return true
	}
	if l < levelLast && !b.room(l) {
		return false
	}
	if l <= levelWorkload && b.used >= b.limits[l]/2 && !b.asked.returns(hash, now) {
		return false
	}
	b.used++
	return true
}

// expire forgets what was asked for an hour before now, or expiry if that is less, and
// gives back the places of an earlier run that were not used for expiry.
func (b *budget) expire(now, expiry int64) {
	b.asked.expire(now - min(expiry, int64(time.Hour)))
	for h, used := range b.standing {
		if now-used > expiry {
			delete(b.standing, h)
			b.used--
		}
	}
}

// restore takes the places of an earlier run, as far as there is room. Nothing has been
// admitted yet.
func (b *budget) restore(places []Place) {
	b.standing = make(map[uint64]int64, len(places))
	for _, p := range places {
		if _, twice := b.standing[p.Hash]; !twice && b.room(levelOther) {
			b.standing[p.Hash] = p.Used
			b.used++
		}
	}
}

// places are those of series, and of an earlier run.
func places[K comparable, S interface{ place() Place }](b *budget, series map[K]S) []Place {
	list := make([]Place, 0, len(series)+len(b.standing))
	for _, x := range series {
		list = append(list, x.place())
	}
	for h, used := range b.standing {
		list = append(list, Place{h, used})
	}
	return list
}
