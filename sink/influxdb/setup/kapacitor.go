package setup

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink/influxdb/rules"
)

// Scripts are the TICKscripts, by file name, that do on Kapacitor what the
// checks of 2.x do, for a database and its retention policy. They ask the
// database (batch), so they run beside InfluxDB 1.x and 2.x alike, and tell the
// topic weir, whose handlers are the user's.
func Scripts(db, policy string) map[string]string {
	silent := rules.Silent()
	scripts := map[string]string{file(silent.Name) + ".tick": silenceScript(silent, db, policy)}
	for _, r := range rules.All() {
		scripts[file(r.Name)+".tick"] = script(&r, db, policy)
	}
	return scripts
}

func script(r *rules.Rule, db, policy string) string {
	where := ""
	if c := r.Condition(); c != "" {
		where = " WHERE " + c
	}
	selected, figure := figureOf(r)
	if r.Of == rules.Changes {
		selected, figure = changesOf(r)
	}
	var b strings.Builder
	head(&b, r.Name, r.Meaning, db, policy)
	fmt.Fprintf(&b, `batch
    |query('''SELECT %s FROM %s.%s.%s%s ''')
        .period(%s)
        .every(%s)
        .offset(%s)
        .groupBy(%s)
%s    |alert()
`, selected, ident(db), ident(policy), ident(r.From), where, minutes(r.Reach), minutes(rules.Every), statusOffset, tickNames(r.By), figure)
	operator := ">"
	if r.Below {
		operator = "<"
	}
	for _, l := range []struct {
		name  string
		bound float64
	}{{"warn", r.Warn}, {"crit", r.Crit}} {
		if l.bound != 0 {
			fmt.Fprintf(&b, "        .%s(lambda: \"%s\" %s %s)\n", l.name, r.Field, operator, float(l.bound))
		}
	}
	message := fmt.Sprintf(`{{ .Level }}: %s: %s: %s {{ index .Fields "%s" }}`, r.Meaning, tickTags(r.By), r.Field, r.Field)
	for _, d := range r.Details {
		message += fmt.Sprintf(`{{ with index .Fields "%s" }}; %s: {{ . }}{{ end }}`, d, d)
	}
	tail(&b, r.Name, message)
	return b.String()
}

// figureOf are the columns that a script asks for, and the nodes that make the figure of
// their one row.
func figureOf(r *rules.Rule) (columns, nodes string) {
	fields, figure := numbered(r.Top, "top"), "float("+plus(r.Top, "top")+")"
	enough := ""
	if r.Share() {
		fields = append(fields, numbered(r.Bottom, "bottom")...)
		figure += " / float(" + plus(r.Bottom, "bottom") + ")"
		enough = fmt.Sprintf("    |where(lambda: %s >= %.0f)\n", plus(r.Bottom, "bottom"), r.AtLeast)
	}
	var selected, absent []string
	for _, f := range fields {
		selected = append(selected, fmt.Sprintf("%s(%s) AS %s", r.Of, ident(f.of), ident(f.as)))
		absent = append(absent, fmt.Sprintf("        .field('%s', 0.0)\n", f.as))
	}
	for _, d := range r.Details {
		selected = append(selected, ident(d))
		absent = append(absent, fmt.Sprintf("        .field('%s', '')\n", d))
	}
	return strings.Join(selected, ", "), fmt.Sprintf("    |default()\n%s%s    |eval(lambda: %s)\n        .as('%s')\n%s",
		strings.Join(absent, ""), enough, figure, r.Field, keep(r))
}

// changesOf is the same of a figure that takes all rows: Kapacitor reads no subqueries.
func changesOf(r *rules.Rule) (columns, nodes string) {
	return ident(r.Top[0]), fmt.Sprintf(`    |difference('%s')
        .as('step')
    |eval(lambda: if("step" == 0.0, 0.0, 1.0))
        .as('change')
    |sum('change')
        .as('%s')
`, r.Top[0], r.Field)
}

// keep has what is not computed go on with what is.
func keep(r *rules.Rule) string {
	if len(r.Details) == 0 {
		return ""
	}
	return "        .keep()\n"
}

// number is a field under the name that a script gives its sum.
type number struct{ of, as string }

// numbered are fields as top0, top1, …: each apart, since in InfluxQL a sum with
// one that is in no row is nothing; the script puts 0.0 in its place (Kapacitor reads every
// number as a float, and adds no integer to one).
func numbered(fields []string, as string) []number {
	var n []number
	for i, f := range fields {
		n = append(n, number{f, as + strconv.Itoa(i)})
	}
	return n
}

func plus(fields []string, as string) string {
	var s []string
	for _, n := range numbered(fields, as) {
		s = append(s, `"`+n.as+`"`)
	}
	return strings.Join(s, " + ")
}

// silenceScript alerts for a host of which there were rows before and are none
// now: deadman would, of a batch, only see that nobody at all sends.
func silenceScript(s rules.Silence, db, policy string) string {
	var b strings.Builder
	head(&b, s.Name, s.Meaning, db, policy)
	fmt.Fprintf(&b, `batch
    |query('''SELECT last("%s") AS "last" FROM %s.%s.%s WHERE "stage" = 'process' ''')
        .period(%s)
        .every(1m)
        .groupBy('host')
    |eval(lambda: (unixNano(now()) - unixNano("time")) / 1000000000)
        .as('silent_seconds')
    |alert()
        .crit(lambda: "silent_seconds" > %d)
`, s.Field, ident(db), ident(policy), ident(s.Measurement), minutes(s.Forget), s.After/time.Second)
	tail(&b, s.Name, fmt.Sprintf("{{ .Level }}: %s: %s", s.Meaning, tickTags([]string{"host"})))
	return b.String()
}

// generated is the line by which a script is known as not written by hand.
const generated = "// Generated by weir setup influxdb --kapacitor-dir; to change it, copy it under another name."

func head(b *strings.Builder, name, meaning, db, policy string) {
	fmt.Fprintf(b, "// Weir, %s: %s.\n%s\n%s\n", name, meaning, generated, dbrp(db, policy))
}

// dbrp is the line that says for which database a script is.
func dbrp(db, policy string) string { return fmt.Sprintf("dbrp %s.%s\n", ident(db), ident(policy)) }

func tail(b *strings.Builder, name, message string) {
	fmt.Fprintf(b, `        .id('weir %s{{ range $k, $v := .Tags }} {{ $k }}={{ $v }}{{ end }}')
        .message('%s')
        .stateChangesOnly()
        .topic('weir')
`, name, strings.ReplaceAll(message, "'", `\'`))
}

func tickNames(tags []string) string { return "'" + strings.Join(tags, "', '") + "'" }

func tickTags(tags []string) string {
	var s []string
	for _, t := range tags {
		s = append(s, fmt.Sprintf(`%s {{ index .Tags "%s" }}`, t, t))
	}
	return strings.Join(s, ", ")
}

// files plans the TICKscripts.
func (o *Options) files(p *Plan, places places) error {
	if o.KapacitorDir == "" {
		return nil
	}
	if st, err := os.Stat(o.KapacitorDir); err != nil || !st.IsDir() {
		return fmt.Errorf("write TICKscripts: %s is no folder", o.KapacitorDir)
	}
	policy := places[Raw].policy
	if policy == "" {
		policy = "autogen"
	}
	scripts := Scripts(places[Raw].name, policy)
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		path, want := filepath.Join(o.KapacitorDir, name), []byte(scripts[name])
		step := Step{Action: Create, Kind: "TICKscript", Name: path, apply: func(context.Context) error { return writeFile(path, want, 0o644) }}
		has, err := os.ReadFile(path)
		switch {
		case err != nil:
		case bytes.Equal(has, want):
			step.Action, step.apply = Keep, nil
		case bytes.Contains(has, []byte(generated)):
			step.Action = Change
		default:
			step.Action, step.apply, step.Detail = Note, nil, "is there and was not generated: left alone"
		}
		p.add(step)
	}
	return o.outdated(p, scripts, dbrp(places[Raw].name, policy))
}

// outdated plans the removal of scripts that an older Weir wrote for the same database and
// this one does not.
func (o *Options) outdated(p *Plan, scripts map[string]string, database string) error {
	there, err := filepath.Glob(filepath.Join(o.KapacitorDir, "*.tick"))
	if err != nil {
		return fmt.Errorf("list TICKscripts: %w", err)
	}
	for _, path := range there {
		has, err := os.ReadFile(path)
		if scripts[filepath.Base(path)] != "" || err != nil || !bytes.Contains(has, []byte(generated)) || !bytes.Contains(has, []byte(database)) {
			continue
		}
		p.add(Step{Action: Remove, Kind: "TICKscript", Name: path, Detail: "made by an older Weir, not needed any more",
			apply: func(context.Context) error { return os.Remove(path) }})
	}
	return nil
}
