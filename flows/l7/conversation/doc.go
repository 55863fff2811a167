// Package conversation is what tests of protocol parsers are made of: what a
// client and a server said, from a script or a capture, the messages a parser
// tells of it as text, and the properties that every parser of flows/l7 has.
package conversation

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
)

// Start is when scripted conversations begin, unix ns; each line is a millisecond
// after the one before.
const (
	Start = int64(1_800_000_000_000_000_000)
	Step  = int64(1_000_000)
)

// Chunk is payload of one packet, or a hole: Hole octets that were not copied
// (negative: nobody knows how many).
type Chunk struct {
	l7.Chunk
	Hole int64
}

// Script reads a conversation: "> text" is sent by the client, "< text" by the
// server, each one packet; text has the escapes of a Go string. "> ...N" is a hole
// of N octets, "> ...?" one of unknown length, "= N" lets N ms pass.
func Script(t testing.TB, script string) []Chunk {
	t.Helper()
	var all []Chunk
	now, previous := Start, l7.Dir(9)
	for line := range strings.Lines(script) {
		line = strings.Trim(line, "\t\n")
		if line == "" {
			continue
		}
		mark, text, _ := strings.Cut(line, " ")
		now += Step
		c := Chunk{Chunk: l7.Chunk{Dir: l7.ToServer, Time: now}}
		switch mark {
		case "<":
			c.Dir = l7.ToClient
		case "=":
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				t.Fatalf("script %q: %v", line, err)
			}
			now += n * Step
			continue
		case ">":
		default:
			t.Fatalf("script %q: begins with neither > nor <", line)
		}
		c.Turn, previous = c.Dir != previous, c.Dir
		if hole, ok := strings.CutPrefix(text, "..."); ok {
			c.Hole = -1
			if hole != "?" {
				n, err := strconv.ParseInt(hole, 10, 64)
				if err != nil {
					t.Fatalf("script %q: %v", line, err)
				}
				c.Hole = n
			}
		} else {
			s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
			if err != nil {
				t.Fatalf("script %q: %v", line, err)
			}
			c.Data = []byte(s)
		}
		all = append(all, c)
	}
	return all
}

// Feed gives chunks to a parser.
func Feed(p l7.Parser, chunks []Chunk) {
	for i := range chunks {
		c := &chunks[i]
		if c.Hole != 0 {
			p.Gap(c.Dir, c.Hole, c.Time)
		} else {
			p.Data(&c.Chunk)
		}
	}
}

// Tell returns what a new parser tells of chunks and the end after them, a line for
// each message. The parser gets copies that are spoiled at once: what it keeps
// beyond its time is wrong.
func Tell(spec l7.Spec, chunks []Chunk) []string {
	var told []string
	var spoiled []byte
	p := spec.New(func(m *l7.Message) { told = append(told, Spell(m)) })
	for i := range chunks {
		copied := chunks[i]
		spoiled = append(spoiled[:0], copied.Data...)
		copied.Data = spoiled
		Feed(p, []Chunk{copied})
		for i := range spoiled {
			spoiled[i] = 0xdb
		}
	}
	p.End(Start)
	return told
}

// Spell writes a message as tests compare it: outcome, operation, status, what
// else is to be said, octets, and the response time in µs where it means something.
func Spell(m *l7.Message) string {
	var b strings.Builder
	b.WriteString([...]string{"answered", "unanswered", "oneway", "lost"}[m.Outcome])
	fmt.Fprintf(&b, " %q %q", m.Operation, m.Status)
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
	if ns, ok := m.ResponseTime(); ok {
		fmt.Fprintf(&b, " %dus", ns/1000)
	}
	return b.String()
}

// name is the part of a spelled message that a hole must not change: the operation
// and the status.
func name(told string) string {
	_, rest, _ := strings.Cut(told, " ")
	operation, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return rest
	}
	status, _ := strconv.QuotedPrefix(rest[len(operation)+1:])
	return operation + " " + status
}

// answered says whether a spelled message has an answer.
func answered(told string) bool { return strings.HasPrefix(told, "answered ") }
