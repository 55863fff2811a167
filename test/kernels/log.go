package kernels

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Boot is what one guest printed.
type Boot struct {
	Release string // uname -r, empty when the guest never got there
	Done    bool   // init reached its end
	Jobs    map[string]*Job
	Console string // everything outside a job: kernel messages, module errors
}

// Job is what one job printed, and how it ended.
type Job struct {
	Output string
	Ended  bool // false: the kernel died under it, or the boot timed out
	Status int  // exit status, 143 for a job that was stopped at its time limit
	Tests  []TestResult
}

// TestResult is one "--- PASS|FAIL|SKIP" line of a Go test binary run with
// -test.v, with what the test logged.
type TestResult struct {
	Name   string
	Result string // PASS, FAIL, SKIP
	Depth  int    // 0 for a top-level test
	Output string
}

// ParseLog reads a guest's serial console.
func ParseLog(r io.Reader) (*Boot, error) {
	b := &Boot{Jobs: map[string]*Job{}}
	var job *Job
	var name string
	var out, console strings.Builder
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch f := strings.Fields(line); {
		case len(f) == 3 && f[0] == "==>" && f[1] == "JOB":
			name, job = f[2], &Job{}
			b.Jobs[name] = job
			out.Reset()
		case len(f) == 4 && f[0] == "<==" && f[1] == "JOB" && job != nil && f[2] == name:
			status, err := strconv.Atoi(f[3])
			if err != nil {
				return nil, fmt.Errorf("read exit status of job %s: %w", name, err)
			}
			job.Ended, job.Status = true, status
			job.Output = out.String()
			job.Tests = parseTests(job.Output)
			job = nil
		case job != nil:
			out.WriteString(line + "\n")
		case len(f) == 3 && f[0] == "GUEST" && f[1] == "uname":
			b.Release = f[2]
		case len(f) == 3 && f[0] == "GUEST" && f[1] == "done":
			b.Done = true
		default:
			console.WriteString(line + "\n")
		}
	}
	if job != nil {
		job.Output = out.String()
		job.Tests = parseTests(job.Output)
	}
	b.Console = console.String()
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read console log: %w", err)
	}
	return b, nil
}

// parseTests finds the result lines; a test's output is what stands before its
// result line and after the previous one.
func parseTests(output string) []TestResult {
	var tests []TestResult
	var log strings.Builder
	for line := range strings.Lines(output) {
		trimmed := strings.TrimLeft(line, " ")
		rest, ok := strings.CutPrefix(trimmed, "--- ")
		result, rest, ok2 := strings.Cut(rest, ": ")
		if !ok || !ok2 {
			log.WriteString(line)
			continue
		}
		name, _, _ := strings.Cut(rest, " (")
		tests = append(tests, TestResult{
			Name: name, Result: result, Output: log.String(),
			Depth: (len(line) - len(trimmed)) / 4,
		})
		log.Reset()
	}
	return tests
}
