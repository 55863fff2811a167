package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// capabilities maps a word of WEIR_REQUIRE to how a skip reason names it.
var capabilities = map[string]*regexp.Regexp{
	"root":         regexp.MustCompile(`(?i)\b(root|privileges?|CAP_[A-Z_]+)\b`),
	"bpf":          regexp.MustCompile(`(?i)\b(e?bpf|btf|tcx|kernel has no)\b`),
	"docker":       regexp.MustCompile(`(?i)docker`),
	"compose":      regexp.MustCompile(`(?i)\bcompose\b`),
	"containerd":   regexp.MustCompile(`(?i)containerd`),
	"podman":       regexp.MustCompile(`(?i)podman`),
	"lxc":          regexp.MustCompile(`(?i)\blxc`),
	"influxdb":     regexp.MustCompile(`(?i)influxd?b?\b`),
	"kapacitor":    regexp.MustCompile(`(?i)kapacitor`),
	"kafka":        regexp.MustCompile(`(?i)\bkafka\b`),
	"telegraf":     regexp.MustCompile(`(?i)\btelegraf\b`),
	"kernels":      regexp.MustCompile(`(?i)\b(needs kernels|qemu|WEIR_TEST_KERNELS)\b`),
	"services":     regexp.MustCompile(`(?i)\bneeds services\b`),
	"alertmanager": regexp.MustCompile(`(?i)alertmanager`),
}

// excused are reasons that name a capability but are not a lack of it on a
// machine that has what WEIR_REQUIRE says: each with why.
var excused = []struct {
	reason *regexp.Regexp
	why    string
}{
	{regexp.MustCompile(`(?i)influx.*\b(2\.|libflux|cargo|rust)|\b(libflux|cargo|rust).*influx`), "InfluxDB 2 with Flux needs a Rust toolchain, which a fresh machine does not have"},
	{regexp.MustCompile(`(?i)influx.*\b3\b`), "InfluxDB 3 cannot be had from source here"},
	{regexp.MustCompile(`WEIR_TEST_KERNELS`), "runs in the level kernels"},
	{regexp.MustCompile(`(?i)\b(needs|as|wants) (a non-root|an? unprivileged)|\bnot (as|for) root\b`), "a test of what happens without privileges"},
}

// lacking returns the required capability that a skip reason names, or "".
func lacking(reason string, required []string) string {
	for _, e := range excused {
		if e.reason.MatchString(reason) {
			return ""
		}
	}
	for _, word := range required {
		if re := capabilities[word]; re != nil && re.MatchString(reason) {
			return word
		}
	}
	return ""
}

// report prints the judgement over all levels and returns false when anything
// failed. The last line is "N passed, N failed, N skipped".
func report(w io.Writer, levels []*level, required []string) bool {
	for _, word := range required {
		if capabilities[word] == nil {
			fmt.Fprintf(w, "WEIR_REQUIRE: unknown capability %q, known: %s\n", word, strings.Join(slices.Sorted(maps.Keys(capabilities)), " "))
			return false
		}
	}
	var passed, failed, skipped int
	skips := map[string][]string{}
	var failures []string
	fmt.Fprintln(w, "levels:")
	for _, l := range levels {
		var p, f, s int
		for _, o := range l.Tests {
			name := l.Name + ": " + o.Package + " " + o.Test
			switch o.Action {
			case "pass":
				p++
			case "fail":
				f++
				failures = append(failures, name)
			case "skip":
				reason := o.reason()
				if word := lacking(reason, required); word != "" {
					f++
					failures = append(failures, fmt.Sprintf("%s: skipped (%s), but %s is required here (WEIR_REQUIRE)", name, reason, word))
					continue
				}
				s++
				skips[reason] = append(skips[reason], name)
			}
		}
		for _, o := range l.Broken {
			f++
			failures = append(failures, l.Name+": "+o.Package+": failed outside a test")
		}
		for _, pkg := range l.Incomplete {
			f++
			failures = append(failures, l.Name+": "+pkg+": never ended")
		}
		if p+f+s == 0 {
			f++
			failures = append(failures, l.Name+": ran nothing")
		}
		fmt.Fprintf(w, "  %-10s %4d passed %3d failed %3d skipped  in %d packages, %.0f s\n", l.Name, p, f, s, l.Packages, l.Seconds)
		passed, failed, skipped = passed+p, failed+f, skipped+s
	}
	if len(skips) > 0 {
		fmt.Fprintln(w, "skipped:")
		for _, reason := range slices.Sorted(maps.Keys(skips)) {
			fmt.Fprintf(w, "  %d × %s (e.g. %s)\n", len(skips[reason]), reason, skips[reason][0])
		}
	}
	if len(failures) > 0 {
		fmt.Fprintln(w, "failed:")
		for _, f := range failures {
			fmt.Fprintln(w, "  "+f)
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed == 0 && len(levels) > 0
}
