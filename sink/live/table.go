package live

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// column is one of the table; rank says how early it is given up when the
// terminal is narrow, 0 last.
type column struct {
	title string
	width int
	rank  int
	text  func(*Edge) string
}

// columns stand right of the edge itself.
var columns = []column{
	{"PROTO", 5, 4, func(e *Edge) string { return e.Proto }},
	{"IN/s", 5, 0, func(e *Edge) string { return human(e.InRate) }},
	{"OUT/s", 5, 0, func(e *Edge) string { return human(e.OutRate) }},
	{"CONN/s", 6, 3, func(e *Edge) string { return human(e.ConnRate) }},
	{"ACT", 5, 2, func(e *Edge) string { return human(float64(e.Active)) }},
	{"FAIL", 5, 1, func(e *Edge) string { return human(float64(e.Failed)) }},
	{"RETX", 5, 5, func(e *Edge) string { return human(float64(e.RetransmitsToServer + e.RetransmitsToClient)) }},
	{"RTT", 6, 1, func(e *Edge) string { return duration(e.RTTAvg) }},
}

const (
	minEdge      = 30 // cells the edge should have before columns are given up
	maxEdge      = 70
	minProcesses = 12
)

// Table writes the interval as a plain table: a line about the whole and how
// far it can be trusted, a heading, and one line per edge, most traffic first.
// IN and OUT are as the client sees them. No line is wider than width cells and
// there are at most height of them (0: all). What names hold is made safe for a
// terminal.
func (s *Snapshot) Table(w io.Writer, width, height int) error {
	width = max(width, 20)
	var b bytes.Buffer
	cols, edge, processes := layout(width)
	line(&b, s.summary(), width)
	line(&b, heading(cols, edge, processes), width)
	n := len(s.Edges)
	if height > 0 {
		n = min(n, max(height-2, 0))
	}
	for i := range s.Edges[:n] {
		line(&b, row(&s.Edges[i], cols, edge, processes), width)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func line(b *bytes.Buffer, s string, width int) {
	b.WriteString(strings.TrimRight(fit(s, width), " "))
	b.WriteByte('\n')
}

func (s *Snapshot) summary() string {
	if s.Time.IsZero() {
		return "weir " + s.Host + ": the first interval is not over yet"
	}
	h := &s.Health
	out := fmt.Sprintf("%s %s  in %s/s out %s/s  conn %s/s  act %s  fail %s  |  lost %d  unattributed %.1f%%  queue %d",
		s.Host, s.Time.Format("15:04:05"), human(s.Totals.InRate), human(s.Totals.OutRate), human(s.Totals.ConnRate),
		human(float64(s.Totals.Active)), human(float64(s.Totals.Failed)), h.Lost, 100*h.Unattributed, h.QueueRows)
	if h.Sink != "" {
		out += " " + h.Sink
	}
	return out
}

// layout chooses the columns for a width.
func layout(width int) (cols []column, edge, processes int) {
	cols = columns
	for rank := 5; rank > 0 && width-total(cols) < minEdge; rank-- {
		kept := make([]column, 0, len(cols))
		for _, c := range cols {
			if c.rank < rank {
				kept = append(kept, c)
			}
		}
		cols = kept
	}
	edge = width - total(cols)
	if spare := edge - minEdge - 1; spare >= minProcesses {
		edge = min(minEdge+spare*3/5, maxEdge)
		processes = width - total(cols) - edge - 1
	}
	return cols, max(edge, 1), processes
}

func total(cols []column) int {
	n := 0
	for _, c := range cols {
		n += c.width + 1
	}
	return n
}

func heading(cols []column, edge, processes int) string {
	var b strings.Builder
	b.WriteString(fit("CLIENT → SERVER :PORT", edge))
	for _, c := range cols {
		fmt.Fprintf(&b, " %*s", c.width, c.title)
	}
	if processes > 0 {
		b.WriteString(" PROCESSES")
	}
	return b.String()
}

func row(e *Edge, cols []column, edge, processes int) string {
	var b strings.Builder
	b.WriteString(fitEdge(e, edge))
	for _, c := range cols {
		fmt.Fprintf(&b, " %*s", c.width, fit(c.text(e), min(c.width, len(c.text(e)))))
	}
	if processes > 0 {
		b.WriteString(" " + fit(processesOf(e), processes))
	}
	return b.String()
}

// fitEdge shortens the two names rather than losing the port.
func fitEdge(e *Edge, width int) string {
	port := " :" + e.ServerPort
	room := width - len(port) - len(" > ")
	client, server := len([]rune(e.Client)), len([]rune(e.Server))
	if room >= 8 && client+server > room {
		half := room / 2
		switch {
		case client <= half:
			server = room - client
		case server <= room-half:
			client = room - server
		default:
			client, server = half, room-half
		}
		return fit(fit(e.Client, client)+" → "+fit(e.Server, server)+port, width)
	}
	return fit(e.Client+" → "+e.Server+port, width)
}

func processesOf(e *Edge) string {
	switch {
	case e.ClientProcess == "" && e.ServerProcess == "":
		return ""
	case e.ServerProcess == "":
		return e.ClientProcess
	case e.ClientProcess == "":
		return "→ " + e.ServerProcess
	}
	return e.ClientProcess + " → " + e.ServerProcess
}
