package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
)

func TestSelftestUsage(t *testing.T) {
	for args, says := range map[string]string{
		"--rate nine":             "neither max nor a number",
		"--rate 100,,max":         "neither max nor a number",
		"--rate 1":                "at least 10",
		"--duration 1s":           "at least 2s",
		"--interval 100ms":        "at least 1s",
		"--influxdb-url nonsense": "influxdb",
		"--packets off":           "unknown flag: --packets; see `weir selftest --help`",
		"now":                     "unknown command",
	} {
		var out, stderr bytes.Buffer
		e := env{stdout: &out, stderr: &stderr, environ: []string{"WEIR_CONFIG=" + os.DevNull}}
		status := run(t.Context(), append([]string{"selftest"}, strings.Fields(args)...), e)
		if status != statusUsage || !strings.Contains(stderr.String(), says) || out.Len() > 0 {
			t.Errorf("%s: status %d, want %d: %s", args, status, statusUsage, stderr.String())
		}
	}
}

// Rows reach the stream they belong to, all of them, in their order.
func TestBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	line := "flow,host=h a=" + strings.Repeat("1", 1000) + " 1\n"
	text := strings.Repeat(line, 1500) + "flow_log,host=h b=1i 2\nweir_self,host=h c=1i 3\nflow_log_not,host=h d=1i 4\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got [sink.Streams]string
	rows := 0
	if err := batches(path, func(b *sink.Batch) {
		got[b.Stream] += string(b.Lines)
		rows += b.Rows
		if n := bytes.Count(b.Lines, []byte("\n")); n != b.Rows || len(b.Lines) > 2<<20 {
			t.Errorf("a batch of %d rows has %d lines, %d octets", b.Rows, n, len(b.Lines))
		}
	}); err != nil {
		t.Fatal(err)
	}
	log := "flow_log,host=h b=1i 2\n"
	if got[sink.Log] != log || got[sink.Main] != strings.Replace(text, log, "", 1) || rows != 1503 {
		t.Errorf("%d rows; the log has %q", rows, got[sink.Log])
	}
}
