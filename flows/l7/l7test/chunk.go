package l7test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
)

// Start is when written conversations begin, unix ns; each piece is a Step (1 ms) after
// the one before.
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

// Line is the line of a script that sends frames as one packet.
func Line(d l7.Dir, frames ...string) string {
	var b strings.Builder
	b.WriteString(map[l7.Dir]string{l7.ToServer: "> ", l7.ToClient: "< "}[d])
	for _, frame := range frames {
		for _, c := range []byte(frame) {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + "\n"
}

// Script reads a conversation: "> text" is sent by the client, "< text" by the
// server, each one packet; text has the escapes of a Go string. "> ...N" is a hole
// of N octets, "> ...?" one of unknown length, "= N" lets N ms pass.
func Script(t testing.TB, script string) []Chunk {
	t.Helper()
	var all []Chunk
	now := Start
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
			now += number(t, line, text) * Step
			continue
		case ">":
		default:
			t.Fatalf("script %q: begins with neither > nor <", line)
		}
		switch hole, ok := strings.CutPrefix(text, "..."); {
		case ok && hole == "?":
			c.Hole = -1
		case ok:
			c.Hole = number(t, line, hole)
		default:
			s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
			if err != nil {
				t.Fatalf("script %q: %v", line, err)
			}
			c.Data = []byte(s)
		}
		all = append(all, c)
	}
	return turns(all)
}

func number(t testing.TB, line, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("script %q: %v", line, err)
	}
	return n
}

// Turns are what client and server say by turns, the client first.
func Turns(said ...string) []Chunk {
	var all []Chunk
	for i, s := range said {
		all = append(all, Chunk{Chunk: l7.Chunk{Dir: l7.Dir(i & 1), Data: []byte(s)}})
	}
	return Talk(all...)
}

// C and S are what the client and the server send, for Talk.
func C(data string) Chunk { return Chunk{Chunk: l7.Chunk{Dir: l7.ToServer, Data: []byte(data)}} }

// S is a piece from the server. See C.
func S(data string) Chunk { return Chunk{Chunk: l7.Chunk{Dir: l7.ToClient, Data: []byte(data)}} }

// Hole is n octets of a direction that were not copied; n < 0: unknown. See C.
func Hole(d l7.Dir, n int64) Chunk { return Chunk{Chunk: l7.Chunk{Dir: d}, Hole: n} }

// Talk gives chunks their times, from Start on, and marks the turns.
func Talk(chunks ...Chunk) []Chunk {
	for i := range chunks {
		chunks[i].Time = Start + int64(i)*Step
	}
	return turns(chunks)
}

// turns marks them.
func turns(chunks []Chunk) []Chunk {
	for i := range chunks {
		chunks[i].Turn = i == 0 || chunks[i].Dir != chunks[i-1].Dir
	}
	return chunks
}

// octets is how much payload there is.
func octets(chunks []Chunk) (n int) {
	for i := range chunks {
		n += len(chunks[i].Data)
	}
	return n
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

// Allocations returns how often a running parser allocates for the conversation,
// which has nothing open at its end.
func Allocations(spec l7.Spec, chunks []Chunk) float64 {
	p := spec.New(func(*l7.Message) {})
	for range 3 {
		Feed(p, chunks)
	}
	return testing.AllocsPerRun(100, func() { Feed(p, chunks) })
}

// Benchmark measures the conversation per message that is told of it.
func Benchmark(b *testing.B, spec l7.Spec, chunks []Chunk) {
	b.ReportAllocs()
	n := 0
	p := spec.New(func(*l7.Message) { n++ })
	Feed(p, chunks)
	b.SetBytes(int64(octets(chunks)))
	n = 0
	for b.Loop() {
		Feed(p, chunks)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(n, 1)), "ns/message")
}
