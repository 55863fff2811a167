// Package open keeps the requests of a connection that have no answer yet, in a
// bounded list, and makes the Message of each. The parsers of protocols with many
// requests in flight share it.
package open

import "github.com/weir-probe/weir/flows/l7"

// Request is a request that waits for its answer. Its Operation is a constant of
// the parser or interned by it, never octets of the stream.
type Request struct {
	// ID is what an answer names: a correlation id, a channel and tag. A protocol
	// that answers in order needs none.
	ID        uint64
	Operation string
	// First and Last are when its octets passed, unix ns; Last is 0 when its end was
	// not seen, and then its time is not told.
	First, Last int64
	Octets      uint64
	// Host is whom the client asked for, interned like Operation; nil: not told.
	Host *string
	// Kind is the parser's own word for how the request is answered.
	Kind uint8
	// Version is that of the request's form, where answers depend on it.
	Version int16
	// Unknown marks a request of which the name was not copied: its answer keeps its
	// place in the order, and it is told as Lost.
	Unknown               bool
	Overlapped, Streaming bool
}

// Answer is what is known of a response. Status is a constant.
type Answer struct {
	Status      string
	Failed      bool
	Upgrade     bool  // see l7.Message
	First, Last int64 // unix ns
	Octets      uint64
}

// Other is the operation of what a client asked by a name the parser does not
// know, or that was not copied.
const Other = "other"

// Teller tells messages by emit, all in one reused Message.
type Teller struct {
	emit func(*l7.Message)
	m    l7.Message
}

// NewTeller returns a teller of messages of protocol p.
func NewTeller(p l7.Protocol, emit func(*l7.Message)) Teller {
	return Teller{emit: emit, m: l7.Message{
		Protocol:  p,
		Operation: make([]byte, 0, l7.MaxOperation),
		Status:    make([]byte, 0, l7.MaxStatus),
	}}
}

// Tell emits the message of r with outcome o and what is known of its answer. A
// request that is Unknown is told as Lost whatever o says.
func (t *Teller) Tell(r *Request, o l7.Outcome, a Answer) {
	if r.Unknown {
		o, a.Status, a.Failed = l7.Lost, "", false
	}
	m := &t.m
	m.Outcome = o
	m.Operation = append(m.Operation[:0], r.Operation[:min(len(r.Operation), l7.MaxOperation)]...)
	m.Status = append(m.Status[:0], a.Status[:min(len(a.Status), l7.MaxStatus)]...)
	if m.Host = m.Host[:0]; r.Host != nil {
		m.Host = append(m.Host, *r.Host...)
	}
	m.Failed = a.Failed
	m.RequestFirst, m.RequestLast = r.First, r.Last
	m.ResponseFirst, m.ResponseLast = a.First, a.Last
	m.RequestOctets, m.ResponseOctets = r.Octets, a.Octets
	m.Overlapped, m.Streaming = r.Overlapped, r.Streaming
	m.Upgrade = a.Upgrade && r.Streaming
	t.emit(m)
}

// TellAll empties the list; each request in it is told with outcome o.
func (t *Teller) TellAll(l *List, o l7.Outcome) {
	for l.Len() > 0 {
		t.Tell(l.At(0), o, Answer{})
		l.Remove(0)
	}
}
