package anomaly

import "math"

func (p *profile) code(c *codec) {
	for m := range numMetrics {
		for h := range hours {
			u := &p.usual[m][h]
			for _, l := range [...]*level{&u.mid, &u.mad, &u.top, &u.low} {
				number(c, l, 2)
			}
			if c.version > 1 {
				number(c, &u.held, 2)
				number(c, &u.least, 2)
			} else {
				u.held, u.least = u.top, u.low
			}
			below(c, &p.days[m][h], 1, memory+1)
		}
		below(c, &p.n[m], 1, perHour+1)
		if c.err != nil {
			return
		}
		for i := range p.n[m] {
			number(c, &p.levels[m][i], 2)
		}
	}
	for h := range hours {
		below(c, &p.busy[h], 1, busyScale+1)
		below(c, &p.seen[h], 1, memory+1)
	}
	number(c, &p.hourly, 2)
	if c.version > 1 {
		number(c, &p.daily, 2)
		for i := range p.outs {
			x := float64(p.outs[i])
			c.float(&x)
			p.outs[i] = float32(x)
		}
		number(c, &p.gap, 1)
	} else if p.hourly > 0 {
		p.daily = level(min(int(p.hourly)+octave*5, math.MaxInt16)) // 24 of them and more
	}
	for m := range p.peak {
		number(c, &p.peak[m], 2)
		if c.version > 1 {
			number(c, &p.mostHeld[m], 2)
			number(c, &p.leastHeld[m], 2)
		}
	}
	number(c, &p.hour, 4)
	number(c, &p.minutes, 1)
	number(c, &p.active, 1)
	c.float(&p.outTotal)
	c.flag(&p.tainted)
	if p.active > p.minutes || p.hour < 0 {
		c.fail()
	}
}

func (b *beacon) code(c *codec) {
	number(c, &b.last, 8)
	below(c, &b.n, 1, beaconKept+1)
	below(c, &b.at, 1, beaconKept)
	number(c, &b.octets, 8)
	number(c, &b.conns, 8)
	number(c, &b.alarm, 8)
	for i := range b.intervals {
		x := float64(b.intervals[i])
		c.float(&x)
		b.intervals[i] = float32(x)
	}
}
