package selftest

import (
	"fmt"
	"slices"
	"strings"
)

// Count is what the comparison of some connections came to.
type Count struct {
	Made       int   `json:"made"`       // connections that really were
	Seen       int   `json:"seen"`       // of them, those with a row
	Ends       int   `json:"ends"`       // ends that a process of this host held
	Attributed int   `json:"attributed"` // of them, those whose row names exactly that process, its container and namespace
	Wrong      int   `json:"wrong"`      // ends or tuples about which a row says something untrue
	Octets     int64 `json:"octets"`     // payload, both directions
	Off        int64 `json:"off"`        // Σ |row − truth|, all of it where there is no row
}

func (a *Count) add(b Count) {
	a.Made += b.Made
	a.Seen += b.Seen
	a.Ends += b.Ends
	a.Attributed += b.Attributed
	a.Wrong += b.Wrong
	a.Octets += b.Octets
	a.Off += b.Off
}

// SeenShare, AttributedShare, WrongShare and OffShare are parts of one.
func (a Count) SeenShare() float64       { return share(a.Seen, a.Made) }
func (a Count) AttributedShare() float64 { return share(a.Attributed, a.Ends) }
func (a Count) WrongShare() float64      { return share(a.Wrong, a.Ends) }
func (a Count) OffShare() float64        { return share(a.Off, a.Octets) }

func share[N int | int64](part, whole N) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// State is how a situation came out.
type State string

// The states.
const (
	OK      State = "ok"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Outcome is one situation of one level.
type Outcome struct {
	Situation string   `json:"situation"`
	What      string   `json:"what"`
	State     State    `json:"state"`
	Why       string   `json:"why,omitempty"`
	Examples  []string `json:"examples,omitempty"`
	Count
}

// examples are so many of a kind that a person sees what it is.
const examples = 3

func (o *Outcome) example(format string, args ...any) {
	if len(o.Examples) < examples {
		o.Examples = append(o.Examples, fmt.Sprintf(format, args...))
	}
}

// compare judges one connection.
func (o *Outcome) compare(c *connection) {
	o.Made++
	known := !c.broken()
	for role, t := range c.ends {
		if t != nil {
			o.Ends++
		}
		if known {
			o.Octets += c.octets(Role(role))
		}
	}
	if c.row == nil {
		if known {
			o.Off += c.octets(Client) + c.octets(Server)
		}
		o.example("no row: %s", c)
		return
	}
	o.Seen++
	for role, t := range c.ends {
		if t != nil {
			v := judge(t, &c.row.Ends[role])
			switch {
			case v.exact:
				o.Attributed++
			case v.wrong != "":
				o.Wrong++
				o.example("%s: %s: %s", v.wrong, c, c.row)
			default:
				o.example("no owner of the %s: %s: %s", t.Role, c, c.row)
			}
		}
		if n, got := c.octets(Role(role)), c.row.Octets[role]; known && n != got {
			o.Off += abs(n - got)
			o.example("%d octets to the %s, not %d: %s: %s", n, Role(role), got, c, c.row)
		}
	}
	if why := judgeNAT(c); why != "" {
		o.Wrong++
		o.example("%s: %s", why, c)
	}
	if cause := c.row.Cause; cause != "" && c.client().Refused != (cause == "refused") {
		o.Wrong++
		o.example("ended with %q: %s: %s", c.row.Cause, c, c.row)
	}
}

func (o *Outcome) conclude() {
	switch {
	case o.Made == 0:
		o.State, o.Why = Failed, "no such connection was made"
	case o.Seen < o.Made:
		o.Why = fmt.Sprintf("%d of %d connections have no row", o.Made-o.Seen, o.Made)
	case o.Wrong > 0:
		o.Why = fmt.Sprintf("%d times a row says what is not so", o.Wrong)
	case o.Attributed < o.Ends:
		o.Why = fmt.Sprintf("%d of %d ends have no owner", o.Ends-o.Attributed, o.Ends)
	case o.Off > 0:
		o.Why = fmt.Sprintf("%d octets off", o.Off)
	}
	if o.State = OK; o.Why != "" {
		o.State = Failed
	}
}

// Level is the result at one rate.
type Level struct {
	Rate     string    `json:"rate"`    // asked for
	Reached  float64   `json:"reached"` // connections per second
	Seconds  float64   `json:"seconds"`
	Outcomes []Outcome `json:"situations"`
	Extra    int       `json:"extra"` // rows nothing real stands behind
	ExtraOf  []string  `json:"extra_examples,omitempty"`
	Lost     []Loss    `json:"lost,omitempty"`   // what the probe says it lost, of everything on this host
	Broken   []string  `json:"broken,omitempty"` // what went wrong in the workload itself

	Wire      int64   `json:"wire"`      // octets of packets, by the rows of flow
	Interface int64   `json:"interface"` // octets, by the counters of the devices they came in by
	CPU       float64 `json:"cpu"`       // of the probe, cores
	RSS       int64   `json:"rss"`       // its highest, octets
	Host      string  `json:"host"`      // host tag of the rows
	Database  bool    `json:"database"`  // the rows as the database gave them back
}

// Total is the sum of all situations.
func (l *Level) Total() (c Count) {
	for i := range l.Outcomes {
		c.add(l.Outcomes[i].Count)
	}
	return c
}

// Accounted says whether the probe's own count of losses explains what is missing.
func (l *Level) Accounted() bool { return l.missing() <= lostRows(l.Lost) }

// missing is how many connections have no row.
func (l *Level) missing() int64 {
	c := l.Total()
	return int64(c.Made - c.Seen)
}

// attributedAim is the least part of the ends that must have their owner.
const attributedAim = 0.9999

// OK says whether the level is as promised. A truth with gaps proves nothing.
func (l *Level) OK() bool {
	c := l.Total()
	return c.Made > 0 && c.Seen == c.Made && c.AttributedShare() >= attributedAim && c.Wrong == 0 && c.Off == 0 && l.Extra == 0 && len(l.Broken) == 0 &&
		!slices.ContainsFunc(l.Outcomes, func(o Outcome) bool { return o.State != Skipped && o.Made == 0 })
}

// check compares what happened with what the rows say.
func check(all []situation, truths []Truth, rows []Row, inBed func(*Row) bool) *Level {
	l := &Level{}
	conns, broken := connections(truths)
	l.Broken = broken
	extra := match(conns, rows, inBed)
	l.Extra = len(extra)
	for _, r := range extra[:min(len(extra), examples)] {
		l.ExtraOf = append(l.ExtraOf, r.String())
	}
	bySituation := map[string]*Outcome{}
	for i := range all {
		o := Outcome{Situation: all[i].name, What: all[i].what}
		if all[i].skip != "" {
			o.State, o.Why = Skipped, all[i].skip
		}
		l.Outcomes = append(l.Outcomes, o)
	}
	for i := range l.Outcomes {
		bySituation[l.Outcomes[i].Situation] = &l.Outcomes[i]
	}
	for _, c := range conns {
		if o := bySituation[c.situation]; o != nil {
			o.compare(c)
		}
	}
	for i := range l.Outcomes {
		if l.Outcomes[i].State != Skipped {
			l.Outcomes[i].conclude()
		}
	}
	return l
}

func (c *connection) String() string {
	var b strings.Builder
	for _, t := range c.ends {
		if t != nil {
			fmt.Fprintf(&b, "[%s pid %d ns %d %s→%s %d/%d] ", t.Role, t.User.PID, t.NetNS, t.Local, t.Remote, t.Sent, t.Received)
		}
	}
	return strings.TrimSpace(b.String())
}

func (r *Row) String() string {
	end := func(e *RowEnd) string {
		return fmt.Sprintf("%s (nat %s) pid %d creator %d ns %d %s", e.Addr, e.NAT, e.PID, e.Creator, e.NetNS, e.Method)
	}
	return fmt.Sprintf("row %s %s %q: %s → %s, %d/%d octets", r.Proto, r.Reporter, r.Cause, end(&r.Ends[Client]), end(&r.Ends[Server]), r.Octets[Server], r.Octets[Client])
}
