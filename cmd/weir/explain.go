package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-probe/weir/cmd/weir/internal/explain"
)

// explainOptions are the flags of weir explain that are no settings.
type explainOptions struct {
	file, at, since string
	json            bool
	limit           int
	sel             explain.Selector
}

func explainCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [COOKIE | [CLIENT:PORT] [SERVER:PORT] | PORT]",
		Short: "Why a connection has the owner it has: the evidence, event by event",
		Long: "Prints of a connection in flow_log which event at which time gave which owner, how its ends and its\n" +
			"packets found each other, what translated its addresses, from which control group its container is known,\n" +
			"and why other candidates lost. Reads the journal, also beside a running probe, which it asks for what is\n" +
			"not in the log yet; or a file of line protocol.\n\n" +
			"A connection is named by the socket cookie of an end (0x… or decimal), by a port, by an address or\n" +
			"ADDRESS:PORT ([IPV6]:PORT) of one end or of both, in either order. Several that match are listed, newest\n" +
			"first; on a terminal a number picks one. Without an argument the newest connections are listed.\n\n" +
			"Exit status: 0 found, 1 not found (the reason is told), 2 the command line can't be meant.",
		Example: "  weir explain\n" +
			"  weir explain 10.0.0.5:43312 10.0.0.9:5432\n" +
			"  weir explain :5432 --process psql --at 03:12\n" +
			"  weir explain 0x1f04c --json",
		Args: cobra.ArbitraryArgs,
	}
	o := &explainOptions{}
	fs := cmd.Flags()
	flags := bindFlags(cmd, "journal", "listen")
	fs.StringVar(&o.file, "file", "", "read this file of line protocol (- for standard input), not the journal")
	fs.StringVar(&o.at, "at", "", "connections that lived at this time: 2026-11-22T03:12:05Z, 2026-11-22 03:12, 03:12:05")
	fs.StringVar(&o.since, "since", "1h", "connections that lived within this time until now; 0 for all there are")
	fs.Int64Var(&o.sel.PID, "pid", 0, "an end's owner, opener or acceptor has this pid")
	fs.StringVar(&o.sel.Process, "process", "", "an end's process has this name")
	fs.StringVar(&o.sel.Container, "container", "", "an end's container has this name, display name or id (its first 6 digits or more)")
	fs.IntVar(&o.limit, "limit", 20, "list at most this many")
	fs.BoolVar(&o.json, "json", false, "machine-readable output, of everything that matches")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withStatus(statusUsage, fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath()))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := flags.load(e)
		if err != nil {
			return err
		}
		if err := o.read(args, fs.Changed("since"), time.Now()); err != nil {
			return withStatus(statusUsage, fmt.Errorf("explain: %w; see `weir explain --help`", err))
		}
		return o.run(cmd.Context(), &cfg, args, e)
	}
	return cmd
}

// read makes the selector of what was given.
func (o *explainOptions) read(args []string, since bool, now time.Time) error {
	if err := o.sel.Terms(args); err != nil {
		return err
	}
	if o.limit < 1 || o.limit > 1000 {
		return fmt.Errorf("--limit %d: must be from 1 to 1000", o.limit)
	}
	if o.at != "" {
		at, width, err := parseTime(o.at, now)
		if err != nil {
			return fmt.Errorf("--at: %w", err)
		}
		o.sel.From, o.sel.To = at.UnixNano(), at.Add(width).UnixNano()-1
		if since {
			return errors.New("--at and --since exclude each other")
		}
		return nil
	}
	d, err := time.ParseDuration(o.since)
	switch {
	case o.since == "0":
	case err != nil || d < 0:
		return fmt.Errorf("--since %q: not a duration like 10m or 24h", o.since)
	case d > 0 && (since || o.file == ""): // a file says itself what it is about
		o.sel.From = now.Add(-d).UnixNano()
	}
	return nil
}

// timeForms are the forms of --at, with what each leaves open.
var timeForms = []struct {
	layout string
	width  time.Duration
	today  bool
}{
	{time.RFC3339Nano, time.Second, false},
	{"2006-01-02 15:04:05", time.Second, false}, {"2006-01-02T15:04:05", time.Second, false},
	{"2006-01-02 15:04", time.Minute, false}, {"2006-01-02T15:04", time.Minute, false},
	{"15:04:05", time.Second, true}, {"15:04", time.Minute, true},
}

// parseTime reads a time; one without a day is the last such time before now.
func parseTime(s string, now time.Time) (t time.Time, width time.Duration, err error) {
	for _, f := range timeForms {
		t, err := time.ParseInLocation(f.layout, s, now.Location())
		if err != nil {
			continue
		}
		if f.today {
			y, m, d := now.Date()
			t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
			if t.After(now) {
				t = t.AddDate(0, 0, -1)
			}
		}
		return t, f.width, nil
	}
	return t, 0, fmt.Errorf("%.60q is not a time like 03:12, 03:12:05, 2026-11-22 03:12 or 2026-11-22T03:12:05Z", s)
}

func (o *explainOptions) run(ctx context.Context, cfg *Config, args []string, e env) error {
	src := &evidence{cfg: cfg, file: o.file, stdin: e.stdin}
	lines, err := src.lines(ctx, args, &o.sel)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	found, err := explain.Find(lines, &o.sel, o.limit)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	if found.Malformed > 0 {
		fmt.Fprintf(e.stderr, "weir: %d lines could not be read\n", found.Malformed)
	}
	all := found.Connections
	switch {
	case len(all) == 0:
		fmt.Fprintln(e.stderr, "weir: no such connection:", src.why(found, &o.sel))
		return errQuiet
	case o.json:
	case len(all) > 1 || len(args) == 0 && o.sel.PID == 0 && o.sel.Process == "" && o.sel.Container == "":
		if err := explain.List(e.stdout, all); err != nil {
			return err
		}
		if found.More {
			fmt.Fprintf(e.stdout, "      … and older ones: --limit, --at, or name an end\n")
		}
		c, err := pick(all, e)
		if c == nil {
			return err
		}
		all = []*explain.Connection{c}
	}
	return o.print(lines, all, e)
}

// print explains connections.
func (o *explainOptions) print(lines explain.Lines, all []*explain.Connection, e env) error {
	var out []*explain.Explanation
	for _, c := range all {
		rivals, err := explain.Rivals(lines, c, 5)
		if err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		out = append(out, explain.Explain(c, rivals))
	}
	if o.json {
		return explain.JSON(e.stdout, out)
	}
	return out[0].Write(e.stdout)
}

// pick lets a person at a terminal choose; nil when there is none, or no choice.
func pick(all []*explain.Connection, e env) (*explain.Connection, error) {
	in, ok := e.stdin.(*os.File)
	out, ok2 := e.stdout.(*os.File)
	if !ok || !ok2 || !isTerminal(in) || !isTerminal(out) {
		fmt.Fprintln(e.stderr, "weir: explain one of them: name both ends, a cookie, --pid or --at")
		return nil, nil
	}
	return choose(all, in, out)
}

// choose reads a number from in.
func choose(all []*explain.Connection, in io.Reader, out io.Writer) (*explain.Connection, error) {
	fmt.Fprintf(out, "explain which one, 1 to %d? ", len(all))
	s, err := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
	if s = strings.TrimSpace(s); s == "" {
		return nil, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("explain: read your choice: %w", err)
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > len(all) {
		return nil, withStatus(statusUsage, fmt.Errorf("explain: %.20q is not a number from 1 to %d", s, len(all)))
	}
	return all[n-1], nil
}
