package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-probe/weir/cmd/weir/internal/selftest"
)

// Exit statuses of weir selftest.
const (
	statusWrong  = 1
	statusUsage  = 2
	statusCannot = 3
)

// selftestOptions is what the command line says.
type selftestOptions struct {
	selftest.Options
	rates string
	table string
	json  bool
	keep  bool
	flags *flagSet // of the database
}

func selftestCommand(e env) *cobra.Command {
	var o selftestOptions
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Make traffic whose truth is known, and check what the pipeline says about it",
		Long: "Starts a probe and workloads in network namespaces of their own, beside anything that runs here, and\n" +
			"compares every row with what really happened. With --influxdb-url the rows go to that database too, are\n" +
			"read back, compared again and deleted. Exit status 0: everything is right; 1: something is wrong; 2: wrong\n" +
			"usage; 3: it could not be run here (not root, no namespaces), which proves nothing.",
		Args: func(cmd *cobra.Command, args []string) error { return withStatus(statusUsage, cobra.NoArgs(cmd, args)) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withStatus(statusUsage, fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath()))
	})
	o.flags = bindFlags(cmd, "influxdb-url", "influxdb-org", "influxdb-bucket", "influxdb-log-bucket", "influxdb-token-file")
	cmd.Flags().BoolVar(&o.json, "json", false, "machine-readable output")
	cmd.Flags().StringVar(&o.rates, "rate", "100", "connections per second; several with commas; max is as many as the machine makes")
	cmd.Flags().DurationVar(&o.Duration, "duration", 6*time.Second, "of the traffic, at each rate")
	cmd.Flags().DurationVar(&o.Interval, "interval", 2*time.Second, "of the probe's rows")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "keep what the workloads and the probe wrote in this directory")
	cmd.Flags().BoolVar(&o.keep, "keep-rows", false, "leave the rows in the database, under host=weir-selftest-…")
	cmd.Flags().StringVar(&o.table, "table", "", "put the table into this document, between its markers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := o.flags.load(e)
		if err == nil {
			err = o.parse()
		}
		if err != nil {
			return withStatus(statusUsage, err)
		}
		// Not because a configuration file names a database: it has to be asked for.
		if o.flags.given("influxdb-url") {
			s := shipper{cfg: cfg, e: e, log: newLog(&cfg, e), keep: o.keep}
			o.Ship = s.ship
		}
		levels, err := selftest.Run(cmd.Context(), o.Options, func(s string) {
			if !o.json {
				fmt.Fprintln(e.stderr, s)
			}
		})
		told := o.tell(e.stdout, levels)
		if err != nil {
			return withStatus(statusCannot, err)
		}
		return told
	}
	return cmd
}

// parse reads what has a form of its own.
func (o *selftestOptions) parse() error {
	if o.Duration < 2*time.Second || o.Interval < time.Second {
		return errors.New("selftest: --duration must be at least 2s and --interval at least 1s")
	}
	for _, s := range strings.Split(o.rates, ",") {
		if s == selftest.Max.String() {
			o.Rates = append(o.Rates, selftest.Max)
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 10 {
			return fmt.Errorf("selftest: --rate %q: %q is neither max nor a number of at least 10", o.rates, s)
		}
		o.Rates = append(o.Rates, selftest.Rate(n))
	}
	return nil
}

// tell prints the result; the error is the exit status.
func (o *selftestOptions) tell(w io.Writer, levels []*selftest.Level) error {
	if len(levels) == 0 {
		return nil
	}
	ok := true
	for _, l := range levels {
		ok = ok && l.OK()
	}
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"version": version, "kernel": kernelRelease(), "ok": ok, "levels": levels}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "weir %s on Linux %s, %d CPUs\n", version, kernelRelease(), runtime.NumCPU())
		selftest.Print(w, levels)
	}
	if o.table != "" {
		text := fmt.Sprintf("\nweir %s, Linux %s, %s, %d CPUs, %s, %s at each rate, intervals of %s\n\n%s\n%s\n", version, kernelRelease(), runtime.GOARCH, runtime.NumCPU(),
			time.Now().Format(time.DateOnly), o.Duration, o.Interval, selftest.Table(levels), selftest.Situations(levels))
		if err := selftest.Insert(o.table, text); err != nil {
			return err
		}
	}
	if !ok {
		return withStatus(statusWrong, errQuiet)
	}
	return nil
}
