package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/sink/decode"
)

// What a parser tells of a capture of a real server (its own golden file, a line
// for each message) is what the rows of the replay add up to.
func TestReplayTellsWhatParsersTell(t *testing.T) {
	goldens, err := filepath.Glob("../../flows/l7/*/testdata/*.golden.*")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no captures of protocols: %v", err)
	}
	for _, golden := range goldens {
		name, _, _ := strings.Cut(filepath.Base(golden), ".")
		capture := filepath.Join(filepath.Dir(golden), name+".pcap")
		if _, err := os.Stat(capture); err != nil {
			continue
		}
		t.Run(strings.TrimPrefix(capture, "../../flows/l7/"), func(t *testing.T) {
			want, messages, failed := readGolden(t, golden)
			got := map[string]int64{}
			var errors, latency, logged int64
			for _, r := range replayed(t, capture) {
				switch r.Measurement {
				case "l7":
					got[fmt.Sprintf("%q %q", r.Tags["operation"], r.Tags["status"])] += r.Int("requests")
				case "flow_error":
					errors += r.Int("request_errors")
				case "flow_latency":
					latency += r.Int("response_count")
				case "flow_log":
					logged += r.Int("requests")
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("requests of the parser (-), of the rows (+):\n%s", d)
			}
			if errors != failed || logged != messages || latency == 0 && failed < messages {
				t.Errorf("%d errors, want %d; %d requests in flow_log, want %d; %d answers timed", errors, failed, logged, messages, latency)
			}
		})
	}
}

// readGolden counts the messages of a golden file by operation and status.
func readGolden(t *testing.T, path string) (counts map[string]int64, messages, failed int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	counts = map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if strings.HasSuffix(path, ".jsonl") {
			var m struct {
				Operation, Status string
				Failed            bool
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%s: %q: %v", path, line, err)
			}
			counts[fmt.Sprintf("%q %q", m.Operation, m.Status)]++
			if messages++; m.Failed {
				failed++
			}
			continue
		}
		outcome, rest, _ := strings.Cut(line, " ")
		if outcome == "#" || rest == "" {
			continue
		}
		operation, err := strconv.QuotedPrefix(rest)
		if err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		status, err := strconv.QuotedPrefix(strings.TrimPrefix(rest, operation+" "))
		if err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		counts[operation+" "+status]++
		messages++
		if strings.Contains(line, " failed ") {
			failed++
		}
	}
	return counts, messages, failed
}

// replayed returns the rows of a replay.
func replayed(t *testing.T, capture string, args ...string) []decode.Row {
	t.Helper()
	var out, log bytes.Buffer
	cmd := replayCommand(env{stdout: &out, stderr: &log, environ: []string{"WEIR_CONFIG=/dev/null"}})
	cmd.SetArgs(append([]string{"--host", "h", "--sink", "stdout", capture}, args...))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var rows []decode.Row
	err := decode.Read(&out, func(r *decode.Row) error { rows = append(rows, *r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A replay calls addresses what the DNS answers in the capture say, from then on.
func TestReplayNamesByDNS(t *testing.T) {
	const capture = "../../flows/l7/dns/testdata/names.pcap"
	servers := func(args ...string) map[string]string {
		got := map[string]string{}
		for _, r := range replayed(t, capture, args...) {
			if r.Measurement == "flow_log" && r.Int("server_port") == 80 {
				got[r.Text("server_address")] = r.Tags["server"] + " " + r.Text("server_dns_name")
			}
		}
		return got
	}
	unnamed := map[string]string{"192.0.2.7": "external ", "192.0.2.8": "external "}
	named := map[string]string{"192.0.2.7": "web.shop.test web.shop.test", "192.0.2.8": "external "}
	if d := cmp.Diff(named, servers()); d != "" {
		t.Errorf("servers (-want +got):\n%s", d)
	}
	if d := cmp.Diff(unnamed, servers("--l7", "off")); d != "" {
		t.Errorf("without payload (-want +got):\n%s", d)
	}
}

func TestReplayReadsAsMuchAsItShould(t *testing.T) {
	const capture = "../../flows/l7/redis/testdata/redis_cli.pcap"
	count := func(args ...string) (l7, timed int) {
		for _, r := range replayed(t, capture, args...) {
			if r.Measurement == "l7" {
				l7++
			}
			if r.Measurement == "flow_latency" && r.Has("response_count") {
				timed++
			}
		}
		return l7, timed
	}
	if l7, timed := count("--l7", "turns"); l7 != 0 || timed == 0 {
		t.Errorf("turns: %d rows of l7, %d of response times", l7, timed)
	}
	if l7, timed := count("--l7", "off"); l7 != 0 || timed != 0 {
		t.Errorf("off: %d rows of l7, %d of response times", l7, timed)
	}
	if l7, timed := count(); l7 == 0 || timed == 0 {
		t.Errorf("on: %d rows of l7, %d of response times", l7, timed)
	}
}

// What lies on another host is told with it, from the packet to the row.
func TestReplayNamesOtherHosts(t *testing.T) {
	conf := file(t, "nodes: {127.0.0.0/8: elsewhere, 192.0.2.0/24: nobody}\n")
	seen := map[string]int{}
	for _, r := range replayed(t, "../../flows/l7/redis/testdata/redis_cli.pcap", "--config", conf) {
		switch r.Measurement {
		case "flow", "flow_latency", "l7":
			seen[r.Measurement]++
			if r.Tags["client_node"] != "elsewhere" || r.Tags["server_node"] != "elsewhere" {
				t.Errorf("%s: %v", r.Measurement, r.Tags)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("rows %v", seen)
	}
}

// Zones are told from the packet to the row, of what a file shows as of what hosts see.
func TestReplayTellsZones(t *testing.T) {
	const capture = "../../flows/capture/testdata/real_http.pcap" // 10.9.0.1 asks 10.9.0.2
	for _, x := range []struct{ conf, want string }{
		{"zones: {10.9.0.0/24: a}\n", "a a none"},
		{"zones: {10.9.0.0/24: a, 10.9.0.2/32: b}\n", "a b zone"},
		{"nodes: {10.9.0.2/32: node2}\nzones: {10.9.0.0/16: a, node2: b}\n", "a b zone"},
		{"nodes: {10.9.0.0/24: node2}\nzones: {10.9.0.1/32: a, node2: b}\n", "a b zone"},
		{"zone: a\nzones: {10.9.0.2/32: b}\n", " b "}, // a file shows nothing that lives here
		{"zones: {h: a, node2: b}\n", "  "},
	} {
		seen := map[string]int{}
		for _, r := range replayed(t, capture, "--config", file(t, x.conf)) {
			switch r.Measurement {
			case "flow", "flow_latency", "l7":
				seen[r.Measurement]++
				if got := r.Tags["client_zone"] + " " + r.Tags["server_zone"] + " " + r.Tags["crosses"]; got != x.want {
					t.Errorf("%s: %s: %q, want %q", x.conf, r.Measurement, got, x.want)
				}
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: rows %v", x.conf, seen)
		}
	}
}
