package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Queue is the accept queue of a listener.
type Queue struct {
	Waiting, Backlog uint32 // connections in it, and how many there may be
}

// Sockets is what an owner holds now.
type Sockets struct {
	Open      uint64 // TCP sockets that are not closed, listeners apart
	Listeners uint64
	Queue     // of all its listeners
}

// Add adds what another owner holds.
func (s *Sockets) Add(o Sockets) {
	s.Open += o.Open
	s.Listeners += o.Listeners
	s.Waiting += o.Waiting
	s.Backlog += o.Backlog
}

// OpenSockets tells what each owner holds now; one may be told more than once, and an
// owner of nothing is not told. Beside the number of owners it costs a look at each
// connection.
func (j *Joiner) OpenSockets(tell func(o *kprobes.Owner, s Sockets)) {
	for _, c := range j.conns {
		for _, e := range c.ends {
			if e != nil && e.owner != nil && !e.closed && c.key.Proto == flows.TCP {
				if e.owner.open == 0 {
					j.holding = append(j.holding, e.owner)
				}
				e.owner.open++
			}
		}
	}
	for i, h := range j.holding {
		tell(&h.Owner, Sockets{Open: h.open})
		h.open, j.holding[i] = 0, nil
	}
	j.holding = j.holding[:0]
	for _, l := range j.listeners {
		if !l.closed && l.known {
			tell(&l.end.owner.Owner, Sockets{Listeners: 1, Queue: l.queue})
		}
	}
}
