package l7test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
)

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
	Upgrade        bool   `json:"upgrade,omitempty"`
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
		Overlapped: m.Overlapped, Streaming: m.Streaming, Upgrade: m.Upgrade,
	}
}

// String writes a message as rules have it: outcome, operation, status, what else is
// to be said, octets, and the response time in µs where it means something.
func (m Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q %q", strings.ReplaceAll(m.Outcome, "_", ""), m.Operation, m.Status)
	if m.Failed {
		b.WriteString(" failed")
	}
	if m.Overlapped {
		b.WriteString(" overlapped")
	}
	if m.Streaming {
		b.WriteString(" streaming")
	}
	fmt.Fprintf(&b, " %d/%d", m.RequestOctets, m.ResponseOctets)
	timed := l7.Message{
		Outcome: l7.Outcome(slices.Index(outcomes[:], m.Outcome)), Streaming: m.Streaming, Upgrade: m.Upgrade,
		RequestLast: m.RequestLast, ResponseFirst: m.ResponseFirst,
	}
	if ns, ok := timed.ResponseTime(); ok {
		fmt.Fprintf(&b, " %dus", ns/1000)
	}
	return b.String()
}

func (m *Message) answered() bool { return m.Outcome == outcomes[l7.Answered] }

// unnamed says whether the operation is one of which the name was not copied.
func (m *Message) unnamed() bool {
	return m.Operation == "" || m.Operation == "unknown" || m.Operation == "other"
}

// Run returns what a new parser tells of chunks and the end after them. It gets copies
// that are spoiled at once: what it keeps beyond its time is wrong.
func Run(spec l7.Spec, chunks []Chunk) []Message {
	told, end := run(spec, chunks)
	end()
	return *told
}

// run is Run without the end.
func run(spec l7.Spec, chunks []Chunk) (told *[]Message, end func()) {
	told = new([]Message)
	p := spec.New(func(m *l7.Message) { *told = append(*told, Keep(m)) })
	var spoiled []byte
	var now int64
	for _, c := range chunks {
		spoiled = append(spoiled[:0], c.Data...)
		c.Data = spoiled
		now = c.Time
		Feed(p, []Chunk{c})
		for i := range spoiled {
			spoiled[i] = 0xdb
		}
	}
	return told, func() { p.End(now) }
}

// Tell is Run, a line for each message.
func Tell(spec l7.Spec, chunks []Chunk) []string {
	var told []string
	for _, m := range Run(spec, chunks) {
		told = append(told, m.String())
	}
	return told
}

// Rule is a conversation and what is to be told of it. It is no type of its own so
// that a table needs no names of fields.
type Rule = struct {
	Name, Script string
	Want         []string
}

// Rules checks each, and the properties that conversations with holes, requests
// without answers or nonsense in them have, too.
func Rules(t *testing.T, spec l7.Spec, rules []Rule) {
	for _, r := range rules {
		t.Run(r.Name, func(t *testing.T) {
			chunks := Script(t, r.Script)
			if diff := cmp.Diff(r.Want, Tell(spec, chunks)); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			PropertiesOfPart(t, spec, chunks)
		})
	}
}

// Equal compares messages with those written in a test. Fields that are zero in
// want are not compared, but the number of messages, and the names, are.
func Equal(t *testing.T, want, got []Message) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d messages, want %d:\n%+v", len(got), len(want), got)
	}
	for i, w := range want {
		g := got[i]
		g.Protocol = zeroAs(w.Protocol, g.Protocol)
		g.RequestFirst = zeroAs(w.RequestFirst, g.RequestFirst)
		g.RequestLast = zeroAs(w.RequestLast, g.RequestLast)
		g.ResponseFirst = zeroAs(w.ResponseFirst, g.ResponseFirst)
		g.ResponseLast = zeroAs(w.ResponseLast, g.ResponseLast)
		g.RequestOctets = zeroAs(w.RequestOctets, g.RequestOctets)
		g.ResponseOctets = zeroAs(w.ResponseOctets, g.ResponseOctets)
		g.ALPN = zeroAs(w.ALPN, g.ALPN)
		g.NotAfter = zeroAs(w.NotAfter, g.NotAfter)
		g.Host = zeroAs(w.Host, g.Host)
		if d := cmp.Diff(w, g); d != "" {
			t.Errorf("message %d (-want +got):\n%s", i, d)
		}
	}
}

func zeroAs[T comparable](want, got T) T {
	var zero T
	if want == zero {
		return zero
	}
	return got
}
