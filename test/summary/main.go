package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// dir is where the levels leave their streams, from the repository's root.
const dir = "out/test"

// order is the order the levels are run and shown in; others follow.
var order = []string{"lint", "generated", "unit", "race", "root", "cases-a", "cases-f", "deploy", "habits", "e2e", "kernels", "fuzz", "bench"}

var errFailed = errors.New("failed")

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintln(os.Stderr, "summary:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "show":
		return show(args[1], in, out)
	case len(args) == 1 && args[0] == "report":
		levels, err := load(dir)
		if err != nil {
			return err
		}
		if !report(out, levels, strings.Fields(os.Getenv("WEIR_REQUIRE"))) {
			return errFailed
		}
		return nil
	}
	return errors.New("usage: summary show LEVEL | summary report")
}

// show keeps the stream and prints what a person wants to see of it at once.
func show(name string, in io.Reader, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for test results: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, name+".json"))
	if err != nil {
		return fmt.Errorf("keep test results: %w", err)
	}
	defer f.Close()
	kept := bufio.NewWriter(f)
	l, err := read(name, io.TeeReader(in, kept), func(e event) {
		if e.Action == "build-output" {
			fmt.Fprint(out, e.Output) // belongs to no package's own output
		}
		if e.Test == "" && (e.Action == "pass" || e.Action == "fail") {
			fmt.Fprintf(out, "%-4s %s %s (%.1f s)\n", e.Action, name, e.Package, e.Elapsed)
		}
	})
	if err != nil {
		return err
	}
	if err := errors.Join(kept.Flush(), f.Close()); err != nil {
		return fmt.Errorf("keep test results: %w", err)
	}
	var failed int
	for _, o := range append(l.Tests, l.Broken...) {
		if o.Action == "fail" {
			failed++
			fmt.Fprintf(out, "FAIL %s %s %s\n%s", name, o.Package, o.Test, o.Output)
		}
	}
	if failed > 0 || len(l.Incomplete) > 0 {
		return errFailed
	}
	return nil
}

// load reads the streams of all levels in dir, in the order of the table.
func load(dir string) ([]*level, error) {
	var levels []*level
	seen := map[string]bool{}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("find test results: %w", err)
	}
	add := func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open test results: %w", err)
		}
		defer f.Close()
		l, err := read(strings.TrimSuffix(filepath.Base(path), ".json"), f, nil)
		if err != nil {
			return err
		}
		seen[path] = true
		levels = append(levels, l)
		return nil
	}
	for _, name := range order {
		path := filepath.Join(dir, name+".json")
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := add(path); err != nil {
			return nil, err
		}
	}
	for _, path := range paths {
		if seen[path] {
			continue
		}
		if err := add(path); err != nil {
			return nil, err
		}
	}
	return levels, nil
}
