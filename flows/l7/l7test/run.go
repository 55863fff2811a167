package l7test

import (
	"github.com/weir-probe/weir/flows/l7"
)

// Piece is payload of one packet, or a hole: Gap octets that were not copied
// (negative: how many is not known), when Data is nil.
type Piece struct {
	Dir  l7.Dir
	Time int64 // unix ns
	Data []byte
	Gap  int64
}

// C and S are pieces of client and server in a conversation written down in a
// test; At gives them times.
func C(data string) Piece { return Piece{Dir: l7.ToServer, Data: []byte(data)} }

// S is a piece from the server. See C.
func S(data string) Piece { return Piece{Dir: l7.ToClient, Data: []byte(data)} }

// Hole is n octets of a direction that were not copied; n < 0: unknown.
func Hole(d l7.Dir, n int64) Piece { return Piece{Dir: d, Gap: n} }

// Talk gives the pieces the times 1000, 2000, … ns, unless they have one.
func Talk(pieces ...Piece) []Piece {
	for i := range pieces {
		if pieces[i].Time == 0 {
			pieces[i].Time = int64(i+1) * 1000
		}
	}
	return pieces
}

// Message is a copy of an l7.Message that can be kept, compared and written as
// JSON.
type Message struct {
	Protocol       string `json:"protocol"`
	Outcome        string `json:"outcome"`
	Operation      string `json:"operation,omitempty"`
	Status         string `json:"status,omitempty"`
	Failed         bool   `json:"failed,omitempty"`
	Host           string `json:"host,omitempty"`
	ALPN           string `json:"alpn,omitempty"`
	NotAfter       int64  `json:"not_after,omitempty"`
	RequestFirst   int64  `json:"request_first,omitempty"`
	RequestLast    int64  `json:"request_last,omitempty"`
	ResponseFirst  int64  `json:"response_first,omitempty"`
	ResponseLast   int64  `json:"response_last,omitempty"`
	RequestOctets  uint64 `json:"request_octets,omitempty"`
	ResponseOctets uint64 `json:"response_octets,omitempty"`
	Overlapped     bool   `json:"overlapped,omitempty"`
	Streaming      bool   `json:"streaming,omitempty"`
}

var outcomes = [...]string{l7.Answered: "answered", l7.Unanswered: "unanswered", l7.OneWay: "one_way", l7.Lost: "lost"}

// Keep copies a message.
func Keep(m *l7.Message) Message {
	return Message{
		Protocol: m.Protocol.String(), Outcome: outcomes[m.Outcome],
		Operation: string(m.Operation), Status: string(m.Status), Failed: m.Failed, Host: string(m.Host),
		ALPN: string(m.ALPN), NotAfter: m.NotAfter,
		RequestFirst: m.RequestFirst, RequestLast: m.RequestLast,
		ResponseFirst: m.ResponseFirst, ResponseLast: m.ResponseLast,
		RequestOctets: m.RequestOctets, ResponseOctets: m.ResponseOctets,
		Overlapped: m.Overlapped, Streaming: m.Streaming,
	}
}

// Feeder gives pieces to a parser and marks the turns.
type Feeder struct {
	Parser l7.Parser
	spoken bool
	last   l7.Dir
	chunk  l7.Chunk
}

// Feed gives one piece. The chunk's Data is a copy that is spoiled afterwards, so
// that a parser that keeps it is found out; scratch is where to copy to (nil: the
// piece itself is given, for benchmarks).
func (f *Feeder) Feed(p *Piece, scratch *[]byte) {
	turn := !f.spoken || f.last != p.Dir
	f.spoken, f.last = true, p.Dir
	if p.Data == nil {
		f.Parser.Gap(p.Dir, p.Gap, p.Time)
		return
	}
	f.chunk = l7.Chunk{Dir: p.Dir, Time: p.Time, Turn: turn, Data: p.Data}
	if scratch == nil {
		f.Parser.Data(&f.chunk)
		return
	}
	*scratch = append((*scratch)[:0], p.Data...)
	f.chunk.Data = *scratch
	f.Parser.Data(&f.chunk)
	for i := range *scratch {
		(*scratch)[i] = 0xdb
	}
}

// Run gives the pieces to a new parser, ends it at the time of the last piece and
// returns what it told.
func Run(spec l7.Spec, pieces []Piece) []Message {
	var told []Message
	f := Feeder{Parser: spec.New(func(m *l7.Message) { told = append(told, Keep(m)) })}
	var scratch []byte
	var end int64
	for i := range pieces {
		f.Feed(&pieces[i], &scratch)
		end = pieces[i].Time
	}
	f.Parser.End(end)
	return told
}

// All runs each stream by itself and returns the messages of all.
func All(spec l7.Spec, streams [][]Piece) []Message {
	var told []Message
	for _, s := range streams {
		told = append(told, Run(spec, s)...)
	}
	return told
}

// Octets returns how much payload the pieces hold.
func Octets(pieces []Piece) (n int) {
	for _, p := range pieces {
		n += len(p.Data)
	}
	return n
}

// Fuzz turns what a fuzzer invents into a conversation: pieces of a 2-octet head
// (direction, hole or data, length) each. Bad input ends it.
func Fuzz(b []byte) []Piece {
	var pieces []Piece
	for t := int64(1); len(b) >= 3; t++ {
		d, n := l7.Dir(b[0]&1), int(b[0]>>2)<<8|int(b[1])
		if b[0]&2 != 0 {
			pieces = append(pieces, Piece{Dir: d, Time: t, Gap: int64(n) - 1})
			b = b[2:]
			continue
		}
		n = min(n, len(b)-2)
		pieces = append(pieces, Piece{Dir: d, Time: t, Data: b[2 : 2+n : 2+n]})
		b = b[2+n:]
	}
	return pieces
}

// Seed is the inverse of Fuzz: pieces longer than its lengths can say are split.
func Seed(pieces []Piece) []byte {
	const most = 1<<14 - 1
	var b []byte
	for _, p := range pieces {
		if p.Data == nil {
			n := min(max(p.Gap, -1)+1, most)
			b = append(b, byte(p.Dir)|2|byte(n>>8)<<2, byte(n))
			continue
		}
		for data := p.Data; len(data) > 0; {
			n := min(len(data), most)
			b = append(b, byte(p.Dir)|byte(n>>8)<<2, byte(n))
			b = append(b, data[:n]...)
			data = data[n:]
		}
	}
	return b
}
