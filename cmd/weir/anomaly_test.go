package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

func anomalyRig(t *testing.T, yaml string) (*Config, *anomalies, *output, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	cfg, err := loadConfig(file(t, fmt.Sprintf("host: h\njournal: {dir: %s}\n%s", dir, yaml)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	return &cfg, newAnomalies(&cfg, slog.New(slog.NewTextHandler(&logged, nil))), newOutput(cfg.Rows, sink.NewSelf(cfg.Rows), newQueue(1<<20)), &logged
}

func serviceEnd(name string) correlate.Endpoint {
	return correlate.Endpoint{Local: true, Kind: correlate.KindProcess, Name: name, Process: &correlate.Process{PID: 7, Name: name, Cmdline: name + " -x \x1b[2J"}}
}

func rows(out *output) string {
	var b bytes.Buffer
	for {
		select {
		case x := <-out.queue.ch:
			b.Write(x.Lines)
			continue
		default:
		}
		return b.String()
	}
}

// From the record to the row, through the end of one run into the next.
func TestAnomalyRows(t *testing.T) {
	cfg, a, out, logged := anomalyRig(t, "anomaly: {learn: 1h, silences: [{client: quiet*}]}\n")
	now := time.Now().Truncate(10 * time.Second).Add(-2 * time.Hour)
	interval := func(names ...string) {
		for _, n := range names {
			r := &correlate.Record{Proto: flows.TCP, Client: serviceEnd(n), Server: serviceEnd("db"), Reporter: correlate.ReporterBoth, Initiator: correlate.InitiatorSYN}
			r.Server.Port, r.Server.Listened = 5432, true
			r.Delta.ToServer.Payload, r.Delta.ToClient.Payload, r.Delta.Opened = 10, 20, 1
			a.add(r)
			if got, want := a.isNew(r), n == "tool"; got != want && now.After(time.Now().Add(-time.Hour)) {
				t.Errorf("%s is new: %v", n, got)
			}
		}
		now = now.Add(10 * time.Second)
		a.tick(now, out)
	}
	for range 6 * 80 {
		interval("web")
	}
	if got := rows(out); got != "" {
		t.Errorf("told while learning: %s", got)
	}
	a.finish()
	a = newAnomalies(cfg, slog.New(slog.NewTextHandler(logged, nil)))
	for range 6 * 5 {
		interval("web")
	}
	interval("web", "tool", "quietly")
	want := `event,client=tool,host=h,server=db,severity=warning,type=new_edge message="tool talks to db (tcp/5432): a service it never talked to",evidence="`
	got := rows(out)
	if !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 || strings.ContainsRune(got, 0x1b) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	for _, f := range []string{`score=1,`, `ongoing=1i,`, `state="active"`, `fingerprint="`, `server_port=5432i`, `proto="tcp"`, `client_kind="process"`, `client_process="tool"`, `client_pid=7i`, `client_cmdline="tool -x \\x1b[2J"`, `server_process="db"`} {
		if !strings.Contains(got, f) {
			t.Errorf("%s is missing in %s", f, got)
		}
	}
	self := sink.NewSelf(cfg.Rows)
	a.self(self, now)
	line := string(self.Flush()[0].Lines)
	for _, f := range []string{"stage=anomaly ", "edges=3i", "alarms=2i", "anomalies=1i", "anomalies_silenced=1i", "learning=0i", "save_failures=0i"} {
		if !strings.Contains(line, f) {
			t.Errorf("%s is missing in %s", f, line)
		}
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged)
	}
}

// A surge shows in the row of its own interval, minutes before it is an event; without
// the detector there is no score.
func TestScoreInTheRow(t *testing.T) {
	_, a, out, _ := anomalyRig(t, "anomaly: {learn: 1h}\n")
	now := time.Now().Truncate(time.Minute).Add(-24 * time.Hour)
	interval := func(a *anomalies, octets uint64) (row string) {
		r := correlate.Record{Proto: flows.TCP, Client: serviceEnd("web"), Server: serviceEnd("db"), Reporter: correlate.ReporterBoth, Initiator: correlate.InitiatorSYN, HasPayload: true}
		r.Server.Port, r.Server.Listened = 5432, true
		r.Delta.ToServer.Payload, r.Delta.ToClient.Payload, r.Delta.Opened = octets, 20, 1
		now = now.Add(10 * time.Second)
		a.add(&r)
		out.add(&r, now)
		a.tick(now, out)
		for _, b := range out.edges.Flush(now) {
			row += string(b.Lines)
		}
		if !strings.HasPrefix(row, "flow,") || !strings.Contains(row, "to_server_bytes=") {
			t.Fatalf("rows %q", row)
		}
		return row
	}
	for range 6 * 150 {
		if row := interval(a, 1e5); !strings.Contains(row, ",score=0 ") {
			t.Fatal(row)
		}
	}
	field := regexp.MustCompile(`,score=([0-9.]+) `)
	for i := range 6 {
		m := field.FindStringSubmatch(interval(a, 1e8))
		if m == nil {
			t.Fatal("no score")
		}
		if score, err := strconv.ParseFloat(m[1], 64); err != nil || score < 10 || score > 256 {
			t.Errorf("score of interval %d of a surge: %s", i, m[1])
		}
	}
	if got := rows(out); got != "" {
		t.Errorf("an event after a minute: %s", got)
	}
	if row := interval(nil, 1e5); strings.Contains(row, "score") {
		t.Errorf("no detector, and yet %s", row)
	}
}

// A file that is damaged is said, set aside, and not the end of anything; one that
// cannot be written is said and counted.
func TestAnomalyState(t *testing.T) {
	cfg, a, _, logged := anomalyRig(t, "")
	path := filepath.Join(cfg.Journal.Dir, stateName)
	if a.saver.path != path {
		t.Fatalf("state at %s", a.saver.path)
	}
	ctx := t.Context()
	done := make(chan struct{})
	go func() { defer close(done); a.run(ctx) }()
	a.save(time.Now())
	a.finish()
	if s, err := os.Stat(path); err != nil || s.Size() < 10 {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newAnomalies(cfg, slog.New(slog.NewTextHandler(logged, nil)))
	if b == nil || !strings.Contains(logged.String(), "learning begins anew") || !strings.Contains(logged.String(), path) {
		t.Errorf("logged %q", logged)
	}
	b.saver.path = filepath.Join(path, "below", "a.file")
	os.WriteFile(path, nil, 0o600)
	b.finish()
	b.finish()
	if b.saver.failures.Load() != 2 || strings.Count(logged.String(), "is not saved") != 1 {
		t.Errorf("%d failures, logged %s", b.saver.failures.Load(), logged)
	}
	if c := examineAnomaly(cfg); c.State != good || c.Detail != path {
		t.Errorf("%+v", c)
	}
	cfg.Journal.Dir = ""
	if c := examineAnomaly(cfg); c.State != limited || c.Remedy == "" {
		t.Errorf("%+v", c)
	}
	cfg.Anomaly.Mode = anomalyOff
	off := newAnomalies(cfg, nil)
	off.add(nil)
	off.tick(time.Time{}, nil)
	off.payload(nil)
	off.self(nil, time.Time{})
	off.finish()
	if off != nil || off.run(ctx) != nil || off.isNew(nil) || examineAnomaly(cfg).State != plain {
		t.Error("it is not off")
	}
}

func TestAnomalyQuestions(t *testing.T) {
	_, a, _, _ := anomalyRig(t, "")
	q := append([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"), "\x01a\x01b\x07example\x00\x00\x01\x00\x01"...)
	udp := kprobes.PayloadEvent{Cookie: 1, Out: true, Turn: true, Data: q, Key: flows.Key{Proto: flows.UDP, DstPort: 53}}
	tcp := udp
	tcp.Key.Proto, tcp.Data = flows.TCP, append([]byte{0, byte(len(q))}, q...)
	in, self, other, none := udp, udp, udp, udp
	in.Out, self.Self, other.Key.DstPort, none.Data = false, true, 5353, nil
	for _, e := range []kprobes.PayloadEvent{udp, tcp, in, self, other, none} {
		a.payload(&e)
	}
	if s := a.det.Stats(); s.Queries != 2 || s.BadQueries != 0 {
		t.Errorf("%d questions, %d bad", s.Queries, s.BadQueries)
	}
}

func TestAnomalyConfig(t *testing.T) {
	c, err := loadConfig(file(t, "anomaly: {learn: 2h, thresholds: {factor: 3}, off: [quiet], state: off, overrides: [{client: shop/api, server: '*/db', port: 5432, factor: 8}], silences: [{type: volume, client: 'ci/*', until: 2027-01-31T00:00:00Z}]}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := c.detector()
	if d.Learn != 2*time.Hour || d.Thresholds.Factor != 3 || d.Thresholds.ScanPorts != 30 || d.State != "" || len(d.Silences) != 1 || d.Silences[0].Until != "2027-01-31T00:00:00Z" || c.Anomaly.Mode != anomalyOn {
		t.Errorf("%+v", d)
	}
	if o := d.WithDefaults().Overrides; len(o) != 1 || o[0].Server != "*/db" || o[0].Port != 5432 || o[0].Factor != 8 || o[0].ScanPorts != 30 {
		t.Errorf("%+v", o)
	}
	for yaml, want := range map[string]string{
		"anomaly: {mode: maybe}":                            "anomaly.mode",
		"anomaly: {learn: 999ms}":                           "learn 999ms",
		"anomaly: {of: []}":                                 `"of"`,
		"anomaly: {off: [voluem]}":                          "voluem",
		"anomaly: {thresholds: {factor: 1}}":                "thresholds.factor 1",
		"anomaly: {thresholds: {scan_ports: 9999}}":         "scan_ports 9999",
		"anomaly: {silences: [{}]}":                         "matches everything",
		"anomaly: {silences: [{type: new}]}":                "silences[0].type",
		"anomaly: {silences: [{client: a, port: 99999}]}":   "silences[0].port",
		"anomaly: {thresholds: {beacon_intervals: 25}}":     "beacon_intervals 25",
		"anomaly: {max_edges: -1}":                          "max_edges",
		"anomaly: {overrides: [{factor: 3}]}":               "overrides[0] matches everything",
		"anomaly: {overrides: [{client: a, factr: 3}]}":     "factr",
		"anomaly: {overrides: [{client: a, factor: 1}]}":    "overrides[0].factor 1",
		"anomaly: {silences: [{client: a, until: friday}]}": "silences[0].until",
	} {
		if _, err := loadConfig(file(t, yaml+"\n"), nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error about %q, got %v", yaml, want, err)
		}
	}
}
