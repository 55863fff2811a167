package selftest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// Print writes a line per situation, then the table.
func Print(w io.Writer, levels []*Level) {
	for _, l := range levels {
		where := ""
		if l.Database {
			where = ", read back from the database"
		}
		fmt.Fprintf(w, "\n%s connections/s, %.0f s: %.0f/s reached%s\n", l.Rate, l.Seconds, l.Reached, where)
		for i := range l.Outcomes {
			o := &l.Outcomes[i]
			why := o.What
			if o.Why != "" {
				why = o.Why
			}
			fmt.Fprintf(w, "  %-7s %-12s %7d  %s\n", o.State, o.Situation, o.Made, oneLine(why))
			list(w, o.Examples)
		}
		if l.Extra > 0 {
			fmt.Fprintf(w, "  %-7s %-12s %7d  rows behind which nothing real stands\n", Failed, "extra", l.Extra)
			list(w, l.ExtraOf)
		}
		if len(l.Broken) > 0 {
			fmt.Fprintf(w, "  %-7s %-12s %7d  connections that the workload itself could not make or finish\n", Failed, "workload", len(l.Broken))
			list(w, l.Broken[:min(len(l.Broken), examples)])
		}
		if !l.Accounted() {
			fmt.Fprintf(w, "  %-7s %-12s %7d  rows missing that the probe does not say it lost\n", Failed, "unaccounted", l.missing()-lostRows(l.Lost))
		}
		for _, x := range l.Lost {
			fmt.Fprintf(w, "  %-7s %-12s %7d  %s of stage %s, of everything on this host\n", "note", "losses", x.Count, x.What, x.Stage)
		}
	}
	fmt.Fprintln(w)
	_, _ = io.WriteString(w, Table(levels))
}

func list(w io.Writer, all []string) {
	for _, s := range all {
		fmt.Fprintf(w, "            %s\n", oneLine(s))
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Table is the levels in Markdown.
func Table(levels []*Level) string {
	rows := [][]string{{"asked /s", "reached /s", "connections", "seen", "attributed", "wrong", "extra rows", "payload off", "wire off", "lost, accounted", "weir CPU", "weir RSS"}}
	for _, l := range levels {
		c := l.Total()
		lost := fmt.Sprint(lostRows(l.Lost))
		if n := l.missing(); n > 0 {
			lost = fmt.Sprintf("%d of %d", min(lostRows(l.Lost), n), n)
		}
		rate := l.Rate
		if l.Database {
			rate += " (database)"
		}
		rows = append(rows, []string{rate, fmt.Sprintf("%.0f", l.Reached), fmt.Sprint(c.Made),
			percent(c.SeenShare()), percent(c.AttributedShare()), percent(c.WrongShare()), fmt.Sprint(l.Extra), percent(c.OffShare()),
			percent(share(l.Wire-l.Interface, l.Interface)), lost, fmt.Sprintf("%.1f %%", 100*l.CPU), fmt.Sprintf("%d MiB", l.RSS>>20)})
	}
	return markdown(rows)
}

// percent never rounds a part to all or to nothing.
func percent(f float64) string {
	switch {
	case f == 0 || f == 1:
		return fmt.Sprintf("%.0f %%", 100*f)
	case f < 0:
		return "-" + percent(-f)
	case f < 1:
		f = min(max(f, 0.00001), 0.99999)
	}
	return fmt.Sprintf("%.3f %%", 100*f)
}

// Situations is a table of the mix: how many of each, and how they came out.
func Situations(levels []*Level) string {
	head := []string{"situation", "what"}
	for _, l := range levels {
		head = append(head, l.Rate+": connections", "right")
	}
	rows := [][]string{head}
	for i := range levels[0].Outcomes {
		o := &levels[0].Outcomes[i]
		row := []string{o.Situation, o.What}
		for _, l := range levels {
			o := &l.Outcomes[i]
			right := percent(o.AttributedShare())
			if o.State == Skipped {
				right = "skipped: " + oneLine(o.Why)
			}
			row = append(row, fmt.Sprint(o.Made), right)
		}
		rows = append(rows, row)
	}
	return markdown(rows)
}

// markdown pads the columns, so that the table can be read as it is.
func markdown(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, s := range r {
			width[i] = max(width[i], len(s))
		}
	}
	var b strings.Builder
	for n, r := range rows {
		for i, s := range r {
			fmt.Fprintf(&b, "| %-*s ", width[i], s)
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range width {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

// The markers between which a document has the table.
const (
	beginMarker = "<!-- selftest: begin -->\n"
	endMarker   = "<!-- selftest: end -->\n"
)

// Insert replaces what stands between the markers of a document.
func Insert(path, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("put the table into a document: %w", err)
	}
	head, rest, ok := bytes.Cut(doc, []byte(beginMarker))
	_, tail, ok2 := bytes.Cut(rest, []byte(endMarker))
	if !ok || !ok2 {
		return fmt.Errorf("put the table into %s: it has no lines %q and %q", path, beginMarker[:len(beginMarker)-1], endMarker[:len(endMarker)-1])
	}
	out := string(head) + beginMarker + text + endMarker + string(tail)
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		return fmt.Errorf("put the table into a document: %w", err)
	}
	return nil
}
