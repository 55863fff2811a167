package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/sink"
)

var end = time.Date(2026, 11, 22, 3, 12, 0, 0, time.UTC)

func edge(client, server string, bytes uint64) *sink.Edge {
	h := new(dist.Histogram)
	h.Add(2e6)
	return &sink.Edge{
		Client: sink.EdgeEnd{Name: client, Kind: "container", Process: "nginx", Container: client + "-1"},
		Server: sink.EdgeEnd{Name: server, Kind: "container", Process: "postgres"},
		Proto:  "tcp", ServerPort: "5432", Reporter: "both", Attribution: "exact",
		HasPayload: true, HasWire: true, ToServerBytes: bytes, ToClientBytes: 2 * bytes, ToServerWireBytes: bytes + 100,
		Opened: 20, Failed: 5, Active: 3, RetransmitsToServer: 1, RTTAvg: 0.000123, RTTMax: 0.5, Connect: h,
	}
}

func publish(edges ...*sink.Edge) *Snapshot {
	v := New("h1")
	v.Publish(end, 10*time.Second, slices.Values(edges), Health{Lost: 2, Unattributed: 0.031, QueueRows: 7, Sink: "behind"})
	return v.Snapshot()
}

func TestSnapshot(t *testing.T) {
	s := publish(edge("a", "db", 1000), edge("b", "db", 5000), edge("c", "db", 1000))
	var order []string
	for _, e := range s.Edges {
		order = append(order, e.Client)
	}
	if !slices.Equal(order, []string{"b", "a", "c"}) {
		t.Errorf("order %v", order)
	}
	if e := s.Edges[0]; e.OutRate != 500 || e.InRate != 1000 || e.ConnRate != 2.5 || e.ConnectP50 == 0 {
		t.Errorf("edge %+v", e)
	}
	if s.Totals.ToServerBytes != 7000 || s.Totals.Failed != 15 || s.Totals.OutRate != 700 || s.Count != 3 {
		t.Errorf("totals %+v", s.Totals)
	}
}

func TestWireRateWithoutPayload(t *testing.T) {
	e := edge("a", "db", 1000)
	e.HasPayload, e.ToServerBytes = false, 0
	if got := publish(e).Edges[0].OutRate; got != 110 {
		t.Errorf("rate %v, want that of the wire", got)
	}
}

func TestSnapshotIsImmutableAndBounded(t *testing.T) {
	v := New("h1")
	if s := v.Snapshot(); s == nil || s.Edges == nil || !s.Time.IsZero() {
		t.Fatalf("before the first interval: %+v", s)
	}
	var es []*sink.Edge
	for i := range MaxEdges + 10 {
		es = append(es, edge(fmt.Sprintf("c%d", i), "db", uint64(i)))
	}
	v.Publish(end, time.Second, slices.Values(es), Health{})
	old := v.Snapshot()
	first := old.Edges[0]
	v.Publish(end, time.Second, slices.Values(es[:1]), Health{})
	if old.Edges[0] != first || len(old.Edges) != MaxEdges || old.Count != MaxEdges+10 {
		t.Errorf("%d edges of %d, first %v", len(old.Edges), old.Count, old.Edges[0])
	}
}

// TestJSONNamesAreOfTheSchema: who reads the API and the database meets one
// vocabulary.
func TestJSONNamesAreOfTheSchema(t *testing.T) {
	b, err := json.Marshal(publish(edge("a", "db", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Edges []map[string]any }
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"out_rate": true, "in_rate": true, "conn_rate": true}
	for _, m := range []string{sink.MeasurementFlow, sink.MeasurementFlowLatency, sink.MeasurementFlowError} {
		names, err := sink.Names(m)
		if err != nil {
			t.Fatal(err)
		}
		for n := range names {
			known[n] = true
		}
	}
	if len(s.Edges) != 1 || len(s.Edges[0]) < 25 {
		t.Fatalf("edges %v", s.Edges)
	}
	for name := range s.Edges[0] {
		if !known[name] {
			t.Errorf("%s is not a name of the schema", name)
		}
	}
}

func table(t *testing.T, s *Snapshot, width, height int) []string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Table(&b, width, height); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestTable(t *testing.T) {
	s := publish(edge("shop/web", "shop/db", 15000000), edge("cron", "external", 10))
	got := strings.Join(table(t, s, 140, 0), "\n")
	want := `h1 03:12:00  in 3.0M/s out 1.5M/s  conn 5/s  act 6  fail 10  |  lost 2  unattributed 3.1%  queue 7 behind
CLIENT → SERVER :PORT                                             PROTO  IN/s OUT/s CONN/s   ACT  FAIL  RETX    RTT PROCESSES
shop/web → shop/db :5432                                            tcp  3.0M  1.5M    2.5     3     5     1  123us nginx → postgres
cron → external :5432                                               tcp     2     1    2.5     3     5     1  123us nginx → postgres`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	narrow := table(t, s, 60, 3)
	if len(narrow) != 3 || !strings.Contains(narrow[2], "shop/web → shop/db :5432") || !strings.Contains(narrow[2], "3.0M") {
		t.Errorf("narrow table %q", narrow)
	}
	if got := table(t, New("h1").Snapshot(), 80, 24); !strings.Contains(got[0], "first interval") {
		t.Errorf("empty table %q", got)
	}
}

func TestLongNamesKeepThePort(t *testing.T) {
	s := publish(edge(strings.Repeat("client", 20), strings.Repeat("服务", 40), 10))
	for _, w := range []int{40, 80, 120, 200} {
		if l := table(t, s, w, 0)[2]; !strings.Contains(l, ":5432") {
			t.Errorf("width %d lost the port: %q", w, l)
		}
	}
}

// hostile names must not reach the terminal as anything but text.
func TestTableIsSafe(t *testing.T) {
	bad := "\x1b[2J\x1b]0;x\a\r\n\t\u009b31m\u202eevil\u200b\u0301\xff\U000e0041"
	s := publish(edge(bad, bad+strings.Repeat("x", 300), 10))
	s.Edges[0].ClientProcess, s.Edges[0].Proto, s.Edges[0].ServerPort = bad, bad, bad
	s.Host = bad
	for width := range 220 {
		checkTable(t, s, width)
	}
}

func checkTable(t *testing.T, s *Snapshot, widths ...int) {
	t.Helper()
	for _, width := range widths {
		lines := table(t, s, width, 0)
		if len(lines) != 2+len(s.Edges) {
			t.Fatalf("width %d: %d lines", width, len(lines))
		}
		for _, l := range lines {
			cells := 0
			for _, r := range l {
				if unicode.Is(unicode.C, r) || unicode.Is(unicode.M, r) {
					t.Fatalf("%U in %q", r, l)
				}
				cells += cellsOf(r)
			}
			if cells > max(width, 20) {
				t.Fatalf("width %d: line of %d cells: %q", width, cells, l)
			}
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add("a", "b", "nginx", "443")
	f.Add("\x1b[31m", "服务服务服务服务服务服务服务服务服务服务服务服务", "\u202e", "ephemeral")
	f.Fuzz(func(t *testing.T, client, server, process, port string) {
		e := edge(client, server, 10)
		e.Client.Process, e.ServerPort = process, port
		checkTable(t, publish(e), 0, 33, 80, 141)
	})
}

func TestHuman(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.04: "0", 0.5: "0.5", 3: "3", 9.96: "10", 999: "999", 999.6: "1.0K", 1500: "1.5K", 15e3: "15K", 999.6e3: "1.0M", 2.5e9: "2.5G", 1e24: "1000000E"} {
		if got := human(v); got != want {
			t.Errorf("human(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "-", 5e-6: "5us", 0.00123: "1.23ms", 0.123456: "123ms", 1: "1.0s"} {
		if got := duration(v); got != want {
			t.Errorf("duration(%v) = %q, want %q", v, got, want)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestTableReportsWriteError(t *testing.T) {
	if err := publish().Table(broken{}, 80, 24); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}
