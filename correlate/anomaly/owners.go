package anomaly

import "fmt"

// ownership watches how much of the traffic has an owner: when that is lost, what
// is missing elsewhere is no anomaly of the services.
type ownership struct {
	clear, unclear uint64 // records since the last whole minute
	usual          float64
	streak         int
	alarm          uint64
	lost           bool
}

const (
	// fewestRecords say something of a share.
	fewestRecords = 20
	lossConfirm   = 3
)

// judgeOwners ends a minute, and says whether owners are missing.
func (d *Detector) judgeOwners(t int64) bool {
	o := &d.owners
	all := o.clear + o.unclear
	if all < fewestRecords {
		o.clear, o.unclear = 0, 0
		return o.lost
	}
	share := float64(o.unclear) / float64(all)
	evidence := o.unclear
	o.clear, o.unclear = 0, 0
	if d.learning() {
		o.usual = max(o.usual-0.001, share)
		return false
	}
	if t <= d.steady { // what was lost with the restart is not usual
		return false
	}
	limit := max(d.cfg.Thresholds.Unknown, o.usual*1.5+0.1)
	if o.lost = share > limit; !o.lost {
		o.streak = 0
		o.usual += (share - o.usual) * 0.002
		return false
	}
	if o.streak++; o.streak < lossConfirm {
		return true
	}
	if al := d.alarms.goesOn(o.alarm, t, share, share/limit); al != nil {
		if t-al.Time >= int64(d.cfg.Accept) {
			o.usual = share // or nothing would ever be learnt again
		}
		return true
	}
	x := Anomaly{Type: AttributionLoss, Since: t - lossConfirm*minute, Time: t, Expected: o.usual, Seen: share, Score: share / limit,
		Message:  fmt.Sprintf("%.0f %% of what was seen in a minute has no known owner, usually %.0f %%: anomalies of services may be missed", 100*share, 100*o.usual),
		Evidence: fmt.Sprintf("records=%d without_owner=%d limit=%.2f", all, evidence, limit)}
	o.alarm = d.begin(x, calm)
	return true
}
