package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// verdict is how a check ended.
type verdict string

const (
	good    verdict = "ok"
	limited verdict = "limited" // works, with something missing
	bad     verdict = "failed"  // the probe can't do its job
	plain   verdict = "info"
)

// check is one line of weir doctor.
type check struct {
	Area   string  `json:"area"`
	Name   string  `json:"name"`
	State  verdict `json:"state"`
	Detail string  `json:"detail,omitempty"`
	Remedy string  `json:"remedy,omitempty"`
}

func doctorCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "What this host can do, what is missing, and what to do about it",
		Long:  "Loads and attaches every hook, looks at cgroups, container runtimes, journal and database, and takes\neverything down again. Exit status 1 when the probe could not do its job.",
		Args:  cobra.NoArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "machine-readable output")
	alert := cmd.Flags().Bool("alert", false, "also send a test alert to each receiver of the configuration")
	flags := bindFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := flags.load(e)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		checks := examine(ctx, &cfg, e)
		if *alert {
			checks = append(checks, testAlerts(ctx, &cfg)...)
		}
		if *asJSON {
			err = printJSON(e.stdout, checks)
		} else {
			printChecks(e.stdout, checks)
		}
		if err == nil && !healthy(checks) {
			err = errQuiet
		}
		return err
	}
	return cmd
}

func healthy(checks []check) bool {
	for _, c := range checks {
		if c.State == bad {
			return false
		}
	}
	return true
}

func printJSON(w io.Writer, checks []check) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"version": version, "kernel": kernelRelease(), "ok": healthy(checks), "checks": checks})
}

func printChecks(w io.Writer, checks []check) {
	fmt.Fprintf(w, "weir %s on Linux %s\n", version, kernelRelease())
	area, n := "", map[verdict]int{}
	for _, c := range checks {
		if c.Area != area {
			area = c.Area
			fmt.Fprintf(w, "\n%s\n", area)
		}
		n[c.State]++
		fmt.Fprintf(w, "  %-7s %-38s %s\n", c.State, c.Name, oneLine(c.Detail))
		if c.Remedy != "" {
			fmt.Fprintf(w, "          → %s\n", oneLine(c.Remedy))
		}
	}
	fmt.Fprintf(w, "\n%d ok, %d limited, %d failed: ", n[good], n[limited], n[bad])
	switch {
	case n[bad] > 0:
		fmt.Fprintln(w, "the probe can't do its job here")
	case n[limited] > 0:
		fmt.Fprintln(w, "the probe works, without what is marked limited")
	default:
		fmt.Fprintln(w, "everything works")
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func healthCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running probe whether it is ready; exit status 1 when not",
		Args:  cobra.NoArgs,
	}
	flags := bindFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := flags.load(e)
		if err != nil {
			return err
		}
		if cfg.Listen == "" {
			return errors.New("health: the local API is switched off; name its address with --listen")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Listen+"/health", nil)
		if err != nil {
			return fmt.Errorf("health: %w", err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("health: no probe answers at %s: %w", cfg.Listen, err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("health: %s", oneLine(string(body)))
		}
		fmt.Fprintln(e.stdout, "ok")
		return nil
	}
	return cmd
}
