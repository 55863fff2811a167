package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/influxdb/setup"
)

func setupCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Prepare a database for Weir",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("setup: name what to prepare: weir setup influxdb")
		},
	}
	cmd.AddCommand(setupInfluxCommand(e))
	return cmd
}

// setupFlags are what the configuration of a probe does not have.
type setupFlags struct {
	dryRun                bool
	keep, keepNames       [setup.Places]string
	downsample, recompute string
	alerts, notify        string
	tokenFile, user       string
	readFile, readUser    string
	kapacitor             string
	influx                *flagSet
}

func setupInfluxCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "influxdb",
		Short: "Databases or buckets, retention, downsampling, checks, tokens that may only write or only read",
		Long: "Brings an InfluxDB 1.8+, 2.x or 3 Core into the state that Weir wants, as an administrator of it. Run it\n" +
			"again after an upgrade, or with another retention: it changes what is different, and touches nothing\n" +
			"that it did not make. See docs/setup.md.",
		Args: cobra.NoArgs,
	}
	f := &setupFlags{influx: bindFlags(cmd, "influxdb-url", "influxdb-org", "influxdb-bucket", "influxdb-log-bucket", "influxdb-token-file")}
	f.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := f.options(e)
		if err != nil {
			return err
		}
		return setUp(cmd.Context(), o, f.dryRun, e.stdout, e.stderr)
	}
	return cmd
}

func (f *setupFlags) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	for p, name := range [setup.Places]string{setup.Raw: "retention", setup.Log: "log-retention", setup.Minute: "retention-1m", setup.Hour: "retention-1h"} {
		of := [setup.Places]string{"rows", "flow_log", "rows per minute", "rows per hour"}[p]
		fs.StringVar(&f.keep[p], name, "", fmt.Sprintf("how long %s are kept, like 30d, 12h, inf; what is there keeps its own unless this is given (new: %dd)",
			of, setup.DefaultKeep[p]/(24*time.Hour)))
		f.keepNames[p] = name
	}
	fs.StringVar(&f.downsample, "downsample", "on", "rows per minute and per hour: on or off")
	fs.StringVar(&f.recompute, "recompute", "", "adds up rows per minute and per hour of this time before now again, like 12h, 2d: after an outage, when rows came late")
	fs.StringVar(&f.alerts, "alerts", "on", "checks (InfluxDB 2): on or off")
	fs.StringVar(&f.notify, "notify-url", "", "http(s) URL that changes of checks are posted to (InfluxDB 2); @FILE reads it from a file")
	fs.StringVar(&f.tokenFile, "write-token-file", "", "makes a token that may only write and leaves it in this file, mode 0600; - prints it")
	fs.StringVar(&f.user, "write-user", "weir", "the user that may only write (InfluxDB 1.x with authentication)")
	fs.StringVar(&f.readFile, "read-token-file", "", "makes a token that may only read, for Grafana and its like, and leaves it in this file, mode 0600; - prints it")
	fs.StringVar(&f.readUser, "read-user", "weir_reads", "the user that may only read (InfluxDB 1.x with authentication)")
	fs.StringVar(&f.kapacitor, "kapacitor-dir", "", "writes TICKscripts with the same alerts into this folder")
}

func (f *setupFlags) options(e env) (setup.Options, error) {
	var o setup.Options
	cfg, err := f.influx.load(e)
	if err != nil {
		return o, err
	}
	if cfg.InfluxDB.URL == "" {
		return o, errors.New("setup influxdb: no server given; set --influxdb-url (or INFLUX_HOST)")
	}
	o = setup.Options{
		Server: cfg.InfluxDB.sink(), NoDownsampling: f.downsample == "off", NoAlerts: f.alerts == "off",
		Histograms: cfg.Rows.Histograms, TokenFile: f.tokenFile, User: f.user,
		ReadTokenFile: f.readFile, ReadUser: f.readUser, KapacitorDir: f.kapacitor, Out: e.stdout,
	}
	for p, v := range f.keep {
		if o.Keep[p], err = retention(v); err != nil {
			return o, fmt.Errorf("--%s: %w", f.keepNames[p], err)
		}
	}
	if o.Recompute, err = retention(f.recompute); err != nil || o.Recompute < 0 {
		return o, fmt.Errorf("--recompute: %q is not a time like 12h or 2d", f.recompute)
	}
	if o.Recompute > 0 { // adding up takes longer than writing
		o.Server.Timeout = max(o.Server.Timeout, 10*time.Minute)
	}
	for name, v := range map[string]string{"downsample": f.downsample, "alerts": f.alerts} {
		if err := oneOf(name, v, "on", "off"); err != nil {
			return o, err
		}
	}
	if file, ok := strings.CutPrefix(f.notify, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return o, fmt.Errorf("--notify-url: %w", err)
		}
		f.notify = strings.TrimSpace(string(b))
	}
	o.NotifyURL = influxdb.Secret(f.notify)
	return o, nil
}

// retention is a duration that may be in days, weeks or years.
func retention(v string) (time.Duration, error) {
	switch v {
	case "":
		return 0, nil
	case "inf":
		return setup.Forever, nil
	}
	for unit, hours := range map[string]int{"d": 24, "w": 7 * 24, "y": 365 * 24} {
		if n, err := strconv.Atoi(strings.TrimSuffix(v, unit)); strings.HasSuffix(v, unit) && err == nil && n > 0 && n < 1000 {
			return time.Duration(n*hours) * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a retention like 30d, 12h, 1y or inf", v)
	}
	return d, nil
}

// setUp plans, prints and, unless it is a dry run, does it. What is printed goes
// to out, or to aside where a token is printed there.
func setUp(ctx context.Context, o setup.Options, dry bool, out, aside io.Writer) error {
	if o.TokenFile == "-" || o.ReadTokenFile == "-" {
		out = aside
	}
	plan, err := setup.New(ctx, o)
	if err != nil {
		return fmt.Errorf("setup influxdb: %w", err)
	}
	fmt.Fprintln(out, plan.Server)
	for _, s := range plan.Steps {
		if dry || s.Action == setup.Keep || s.Action == setup.Note {
			printStep(out, s)
		}
	}
	if dry {
		fmt.Fprintf(out, "%d to create, %d to change, %d to remove, %d as they are (dry run: nothing was done)\n",
			plan.Count(setup.Create), plan.Count(setup.Change), plan.Count(setup.Remove), plan.Count(setup.Keep))
		return nil
	}
	if err := plan.Apply(ctx, func(s setup.Step) { printStep(out, s) }); err != nil {
		return fmt.Errorf("setup influxdb: %w", err)
	}
	fmt.Fprintf(out, "%d created, %d changed, %d removed, %d as they were\n",
		plan.Count(setup.Create), plan.Count(setup.Change), plan.Count(setup.Remove), plan.Count(setup.Keep))
	return nil
}

func printStep(w io.Writer, s setup.Step) {
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-7s %-21s %-36s %s", s.Action, s.Kind, s.Name, oneLine(s.Detail)), " "))
}
