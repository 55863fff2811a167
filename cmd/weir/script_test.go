package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weir": func() {
			os.Exit(run(context.Background(), os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
		},
	})
}

// TestScripts runs testdata/script: the program as its user meets it, without
// root. $CAPTURES is the folder of the capture files.
func TestScripts(t *testing.T) {
	captures, err := filepath.Abs("../../flows/capture/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("WEIR_TEST_UPDATE") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CAPTURES", captures)
			e.Setenv("WEIR_CONFIG", os.DevNull)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"sorted":   sorted,
			"jsonhas":  jsonHas,
			"truncate": truncate,
			"journal":  writeJournal,
			"status":   status,
		},
	})
}

// sorted FILE sorts lines in place: streams reach a sink in no fixed order.
func sorted(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.SplitAfter(ts.ReadFile(args[0]), "\n")
	sort.Strings(lines)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(lines, "")), 0o600))
}

// truncate FROM TO copies FROM without its last bytes.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:len(b)-20], 0o600))
}

// journal DIR FILE makes a journal of the lines of a file, flow_log in its own stream.
func writeJournal(ts *testscript.TestScript, _ bool, args []string) {
	j, err := journal.Open(journal.Config{Dir: ts.MkAbs(args[0]), Now: func() time.Time { return time.Unix(1795383900, 0) }})
	ts.Check(err)
	at := int64(1)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		fields := strings.Fields(line)
		if t, err := strconv.ParseInt(fields[len(fields)-1], 10, 64); err == nil {
			at = t
		}
		b := &sink.Batch{Stream: sink.Main, Rows: 1, Time: at, Lines: []byte(line)}
		if strings.HasPrefix(line, sink.MeasurementFlowLog) {
			b.Stream = sink.Log
		}
		ts.Check(j.Append(b))
	}
	ts.Check(j.Close())
}

// status N COMMAND… wants exit status N.
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var e *exec.ExitError
	code := 0
	if errors.As(err, &e) {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%v: status %d, want %s", args[1:], code, args[0])
	}
}

// jsonhas FILE checks the shape of weir doctor --json.
func jsonHas(ts *testscript.TestScript, neg bool, args []string) {
	var d struct {
		Version string
		Kernel  string
		OK      *bool
		Checks  []check
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &d))
	if d.Version == "" || d.Kernel == "" || d.OK == nil || len(d.Checks) < 10 {
		ts.Fatalf("version, kernel, ok or checks missing: %+v", d)
	}
	areas := map[string]bool{}
	for _, c := range d.Checks {
		areas[c.Area] = true
		switch {
		case c.Area == "" || c.Name == "":
			ts.Fatalf("a check without area or name: %+v", c)
		case c.State != good && c.State != limited && c.State != bad && c.State != plain:
			ts.Fatalf("unknown state: %+v", c)
		case c.State == bad && *d.OK:
			ts.Fatalf("ok, and yet %+v", c)
		}
	}
	for _, a := range []string{"host", "socket path", "packet path", "containers", "journal", "sinks", "limits"} {
		if !areas[a] {
			ts.Fatalf("no check of %s", a)
		}
	}
}
