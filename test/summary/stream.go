package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is one line of `go test -json` (go doc cmd/test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

// outcome is how one test, or one package without tests of its own, ended.
type outcome struct {
	Package, Test string
	Action        string // pass, fail, skip
	Output        string
}

// level is everything one stream said.
type level struct {
	Name     string
	Packages int
	Tests    []outcome
	// Broken are packages that failed without a failed test: they did not build,
	// crashed, or ran out of time.
	Broken []outcome
	// Incomplete are the packages that never reported an end.
	Incomplete []string
	Seconds    float64
}

// read parses one stream. Lines that are not JSON (a build error printed by an
// older go) are kept as output of no package.
func read(name string, r io.Reader, each func(event)) (*level, error) {
	l := &level{Name: name}
	output := map[string]*strings.Builder{}
	open := map[string]bool{}
	failed := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = event{Action: "output", Output: lines.Text() + "\n"}
		}
		if each != nil {
			each(e)
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "start":
			open[e.Package] = true
		case "output", "build-output":
			if output[key] == nil {
				output[key] = &strings.Builder{}
			}
			output[key].WriteString(e.Output)
		case "pass", "fail", "skip":
			o := outcome{Package: e.Package, Test: e.Test, Action: e.Action}
			if b := output[key]; b != nil {
				o.Output = b.String()
			}
			delete(output, key)
			if e.Test != "" {
				l.Tests = append(l.Tests, o)
				failed[e.Package] = failed[e.Package] || e.Action == "fail"
				continue
			}
			delete(open, e.Package)
			l.Packages++
			l.Seconds += e.Elapsed
			if e.Action == "fail" && !failed[e.Package] {
				l.Broken = append(l.Broken, o)
			}
		}
	}
	for p := range open {
		l.Incomplete = append(l.Incomplete, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read test events of level %s: %w", name, err)
	}
	return l, nil
}

// reason is the text a skipped test gave: its output without the framing lines.
func (o outcome) reason() string {
	var kept []string
	for line := range strings.Lines(o.Output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		// "file_test.go:12: reason"
		if _, after, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok := strings.Cut(after, ": "); ok {
				line = text
			}
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		return "no reason given"
	}
	return kept[len(kept)-1]
}
