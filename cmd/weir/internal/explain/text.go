package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/live"
)

// stamp is a time with its day, clock one without.
func stamp(ns int64) string { return time.Unix(0, ns).Format("2006-01-02 15:04:05") }
func clock(ns int64) string { return time.Unix(0, ns).Format("15:04:05.000000") }

// moment is the time of a step: of another day than the connection's without its fraction.
func moment(ns, start int64) string {
	if t := time.Unix(0, ns); t.Format(time.DateOnly) != time.Unix(0, start).Format(time.DateOnly) {
		return t.Format("01-02 15:04:05 ")
	}
	return clock(ns)
}

// maxLine bounds what is printed of one fact, in characters.
const maxLine = 600

// line writes one line of which no character can do harm.
func line(w io.Writer, text string) {
	if rs := []rune(text); len(rs) > maxLine {
		text = string(rs[:maxLine]) + "…"
	}
	fmt.Fprintln(w, strings.TrimRight(live.Safe(text), " "))
}

// Write prints the evidence for people.
func (x *Explanation) Write(w io.Writer) error {
	var b bytes.Buffer
	until := fmt.Sprintf("… %.3f s", float64(x.Seen-x.Start)/1e9)
	if x.Open {
		until = "… open when last told, " + clock(x.Seen)
	}
	line(&b, fmt.Sprintf("%s → %s %s   %s %s   %s", x.Client.Address, x.Server.Address, x.Proto,
		time.Unix(0, x.Start).Format("2006-01-02 15:04:05.000000"), until, x.Outcome))
	x.Client.write(&b, "client", x.Start)
	x.Server.write(&b, "server", x.Start)
	line(&b, "both ends  "+x.Joined)
	line(&b, "packets    "+x.Packets)
	if x.NAT != "" {
		line(&b, "NAT        "+x.NAT)
	}
	if len(x.Rivals) == 0 {
		line(&b, "others     no other connection had this tuple about that time")
	}
	for i, r := range x.Rivals {
		head := "others     "
		if i > 0 {
			head = "           "
		}
		line(&b, head+r)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	return nil
}

func (e *End) write(b *bytes.Buffer, who string, start int64) {
	line(b, fmt.Sprintf("%s     %s   %s", who, e.Owner, e.Confidence))
	for _, s := range e.Steps {
		at := strings.Repeat(" ", len("15:04:05.000000"))
		if s.Time != 0 {
			at = moment(s.Time, start)
		}
		line(b, fmt.Sprintf("  %s  %-30s  %s", at, s.Source, s.Text))
	}
}

// summary is a connection in a line.
func summary(c *Connection) string {
	r := c.Last()
	x := Explain(c, nil)
	return fmt.Sprintf("%s  %s → %s %s  %s  %s → %s  %s", time.Unix(0, x.Start).Format("2006-01-02 15:04:05.000000"),
		x.Client.Address, x.Server.Address, x.Proto, x.Outcome,
		side{r, sink.ClientEnd, false}.brief(), side{r, sink.ServerEnd, false}.brief(), attribution(r))
}

// brief is an end in a few words.
func (s side) brief() string {
	name := s.r.Tags[sink.TagName[s.end]]
	if pid := s.num(sink.LogPID); pid != 0 {
		if p := s.text(sink.LogProcess); p != "" && p != name {
			name += "/" + p
		}
		return fmt.Sprintf("%s[%d]", name, pid)
	}
	return name
}

// attribution is the weaker confidence of the ends that live here.
func attribution(r *Row) string {
	weakest := ""
	for end := range 2 {
		grade, _, _ := strings.Cut(side{r, end, false}.confidence(), ",")
		if grade == "none" && r.Int(sink.LogCookie[end]) == 0 {
			continue // elsewhere
		}
		if weakest == "" || weakest == "exact" || grade == "none" {
			weakest = grade
		}
	}
	if weakest == "" {
		return "none"
	}
	return weakest
}

// List prints connections, one numbered line each.
func List(w io.Writer, all []*Connection) error {
	var b bytes.Buffer
	for i, c := range all {
		line(&b, fmt.Sprintf("%4d  %s", i+1, summary(c)))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

// JSON prints explanations for programs. What a terminal could take for a
// command is escaped, too.
func JSON(w io.Writer, all []*Explanation) error {
	b, err := json.MarshalIndent(map[string]any{"connections": all}, "", "  ")
	if err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case r == '\n' || r == ' ' || unicode.IsGraphic(r):
			out.WriteRune(r)
		case r > 0xffff:
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&out, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	out.WriteByte('\n')
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	return nil
}
