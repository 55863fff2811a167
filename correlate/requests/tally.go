package requests

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows/l7"
)

// Of one stream and interval: how many tallies have the name of their operation,
// and how many at least their status.
const (
	maxOperations = 32
	maxStatuses   = 48
)

// Other stands for operations and statuses of which there are too many.
const Other = "other"

// told takes a message of a stream's parser.
func (t *Tracker) told(s *stream, m *l7.Message) {
	tl := t.tally(s, m)
	t.count(s, tl, 1, m.Failed)
	tl.RequestOctets += m.RequestOctets
	tl.ResponseOctets += m.ResponseOctets
	s.life.Protocol = m.Protocol
	switch m.Outcome {
	case l7.Unanswered:
		t.stats.Unanswered++
		tl.Unanswered++
	case l7.Lost:
		t.stats.Lost++
		tl.Lost++
	}
	t.secured(s, tl, m)
	t.steady(s, m)
	if m.Overlapped {
		tl.Overlapped++
	}
	if m.Streaming {
		tl.Streaming++
	}
	ns, ok := m.ResponseTime()
	s.recent = recent{m.Protocol, tl.Operation, tl.Status, tl.ServerName, m.Failed, ok, ns, m.RequestOctets, m.ResponseOctets}
	if ok {
		t.time(&tl.Response, ns)
	}
	t.message(s, m, ns, ok)
}

// tally finds or makes the counts of a message's operation and status.
func (t *Tracker) tally(s *stream, m *l7.Message) *correlate.Tally {
	op, status := m.Operation[:min(len(m.Operation), l7.MaxOperation)], m.Status[:min(len(m.Status), l7.MaxStatus)]
	host, alpn := m.Host[:min(len(m.Host), l7.MaxHost)], m.ALPN[:min(len(m.ALPN), l7.MaxALPN)]
	if tl := s.find(m.Protocol, op, status, host, alpn); tl != nil {
		return tl
	}
	n := len(s.tallies)
	if n >= maxOperations {
		if op, host, alpn = other, nil, nil; n >= maxStatuses {
			status = other
		}
		t.stats.Folded++
		if tl := s.find(m.Protocol, op, status, host, alpn); tl != nil {
			return tl
		}
	}
	if n >= maxStatuses+8 || len(t.tallies) == 0 && t.made >= t.cfg.MaxTallies {
		if n < maxOperations {
			t.stats.Folded++
		}
		switch r := &s.rest; {
		case r.Requests == 0:
			*r = correlate.Tally{Protocol: m.Protocol, Operation: Other, Status: Other}
		case r.Protocol != m.Protocol:
			r.Protocol = l7.Unknown
		}
		return &s.rest
	}
	tl := t.newTally()
	tl.Protocol, tl.Operation, tl.Status, tl.ServerName, tl.ALPN = m.Protocol, t.name(op), t.name(status), t.name(host), t.name(alpn)
	s.tallies = append(s.tallies, tl)
	return tl
}

var other = []byte(Other)

func (s *stream) find(p l7.Protocol, op, status, host, alpn []byte) *correlate.Tally {
	for _, tl := range s.tallies {
		if tl.Protocol == p && tl.Operation == string(op) && tl.Status == string(status) && tl.ServerName == string(host) && tl.ALPN == string(alpn) {
			return tl
		}
	}
	return nil
}

func (t *Tracker) newTally() *correlate.Tally {
	if n := len(t.tallies); n > 0 {
		tl := t.tallies[n-1]
		t.tallies = t.tallies[:n-1]
		return tl
	}
	t.made++
	return new(correlate.Tally)
}

// name returns b as a string that is made once.
func (t *Tracker) name(b []byte) string {
	if s, ok := t.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(t.names) < maxNames {
		t.names[s] = s
	}
	return s
}
