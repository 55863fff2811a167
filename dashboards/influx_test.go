package dashboards

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/lineproto"
	"github.com/weir-probe/weir/test/influxd"
)

// sampleTime is an interval's end; all queries of the tests look around it.
var sampleTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const sampleIntervals = 12

var sampleValues = Values{
	TimeFilter: fmt.Sprintf("time >= %dms and time <= %dms", sampleTime.UnixMilli(), sampleTime.Add(sampleIntervals*10*time.Second).UnixMilli()),
	Interval:   10 * time.Second,
	Range:      sampleIntervals * 10 * time.Second,
	// as Grafana escapes it
	Variables: map[string]string{"container." + containerVariable: `shop\/web`, "processes." + containerVariable: `shop\/web`, "service." + serviceVariable: `shop\/web`},
}

// sampleEdges are tags of four edges of one Compose project: shop/web is the server of
// the first, and the client of the two after it; the last two have an end outside.
var sampleEdges = []map[string]string{
	{"client": "curl", "client_kind": "process", "client_process": "curl", "server": "shop/web", "server_kind": "container",
		"server_container": "shop-web-1", "server_process": "nginx", "server_port": "80", "proto": "tcp", "reporter": "both", "attribution": "exact",
		"client_zone": "a", "server_zone": "a", "crosses": "none",
		"l7": "http", "operation": "GET /cart/{id}", "status": "200", "name": "shop/web", "kind": "container", "container": "shop-web-1", "process": "nginx", "type": "throttled", "severity": "warning"},
	{"client": "shop/web", "client_kind": "container", "client_process": "nginx", "client_container": "shop-web-1", "server": "shop/db",
		"server_kind": "remote", "server_container": "shop-db-1", "server_process": "postgres", "server_port": "5432", "proto": "tcp", "reporter": "client", "attribution": "inferred",
		"client_zone": "a", "server_zone": "b", "crosses": "zone",
		"l7": "dns", "operation": "AAAA", "status": "NXDOMAIN", "name": "shop/db", "kind": "container", "container": "shop-db-1", "process": "postgres", "type": "oom", "severity": "error"},
	{"client": "shop/web", "client_kind": "container", "client_process": "nginx", "client_container": "shop-web-1", "client_namespace": "shop", "server": "api.example.com",
		"server_kind": "external", "server_port": "443", "proto": "tcp", "reporter": "client", "attribution": "exact",
		"l7": "dns", "operation": "A", "status": "NOERROR", "name": "shop/worker", "kind": "container", "container": "shop-worker-1", "process": "ruby", "type": "new_edge", "severity": "info"},
	{"client": "office", "client_kind": "external", "server": "shop/db", "client_zone": "b", "server_zone": "a", "crosses": "zone",
		"server_kind": "container", "server_container": "shop-db-1", "server_process": "postgres", "server_port": "5432", "proto": "tcp", "reporter": "server", "attribution": "exact",
		"l7": "tls", "operation": "TLS 1.2", "status": "ok", "alpn": "h2", "server_name": "shop.example.org", "name": "shop/db", "kind": "container", "container": "shop-db-2", "process": "postgres", "type": "port_scan", "severity": "warning", "end_reason": "active"},
}

// sampleLines is one row per edge (or stage) and interval with every field of
// the measurement that anything writes, so that no query may come back empty.
func sampleLines(stream sink.Stream) []byte { return sampleLinesFrom(sampleTime, stream) }

func sampleLinesFrom(start time.Time, stream sink.Stream) []byte {
	var e lineproto.Encoder
	for _, m := range sink.Measurements() {
		if m.Stream != stream {
			continue
		}
		for i, tags := range sampleTags(m) {
			edge := sampleEdges[i%len(sampleEdges)]
			prefix := e.AppendTags(nil, tags)
			for k := range sampleIntervals {
				e.Begin(m.Name, prefix)
				for _, f := range m.Fields {
					if f.Planned || f.OptIn != "" {
						continue
					}
					switch f.Type {
					case sink.Int:
						e.Int(f.Name, int64(100*(i+1)))
					case sink.Float:
						e.Float(f.Name, 0.25)
					case sink.String:
						if lasts := anomalous(edge); m.Name == sink.MeasurementEvent && (f.Name == sink.FieldState || f.Name == sink.FieldFingerprint) {
							if lasts {
								e.String(f.Name, map[string]string{sink.FieldState: stateAt(i, k), sink.FieldFingerprint: fmt.Sprintf("%016x", i)}[f.Name])
							}
						} else if text, ok := edge[f.Name]; ok {
							e.String(f.Name, text)
						} else if !ofAnEnd(f.Name) {
							e.String(f.Name, "sample")
						}
					case sink.Bool:
						e.Bool(f.Name, true)
					}
				}
				// an edge's rows share their times with other edges', flow_log's do not
				e.End(start.Add(time.Duration(k)*10*time.Second + time.Duration(i)).UnixNano())
			}
		}
	}
	return e.Bytes()
}

// anomalous says whether an edge's events are anomalies. new_edge begins and ends in
// turn, port_scan goes on.
func anomalous(edge map[string]string) bool {
	return edge[sink.TagEventType] == "new_edge" || edge[sink.TagEventType] == "port_scan"
}

func stateAt(edge, interval int) string {
	if sampleEdges[edge][sink.TagEventType] == "new_edge" && interval%2 == 1 {
		return "resolved"
	}
	return "active"
}

// ofAnEnd says whether a field has the name of a tag that an edge may lack.
func ofAnEnd(name string) bool {
	for _, pair := range [][2]string{sink.TagContainer, sink.TagProcess} {
		if slices.Contains(pair[:], name) {
			return true
		}
	}
	return false
}

func sampleTags(m sink.Measurement) [][]lineproto.Tag {
	var sets [][]lineproto.Tag
	if _, ok := m.Tag(sink.TagStage); ok {
		for _, s := range sink.Stages() {
			sets = append(sets, []lineproto.Tag{{Key: sink.TagHost, Value: "one"}, {Key: sink.TagStage, Value: string(s)}})
		}
		return sets
	}
	for _, edge := range sampleEdges {
		var set []lineproto.Tag
		for _, tag := range m.Tags {
			switch {
			case tag.Name == sink.TagHost:
				set = append(set, lineproto.Tag{Key: tag.Name, Value: "one"})
			case m.Name == sink.MeasurementEvent && edge[sink.TagEventType] == "oom" && tag.Name == clientTag:
				// happens to one end
			case edge[tag.Name] != "":
				set = append(set, lineproto.Tag{Key: tag.Name, Value: edge[tag.Name]})
			case tag.Name == sink.TagEndReason:
				set = append(set, lineproto.Tag{Key: tag.Name, Value: "end"})
			}
		}
		sets = append(sets, set)
	}
	return sets
}

// TestQueriesRun: a real server parses every query and has an answer to it.
func TestQueriesRun(t *testing.T) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			s := startServer(t, version)
			s.write(t, mainDB, sampleLines(sink.Main))
			s.write(t, logDB, sampleLines(sink.Log))
			for _, q := range mustQueries(t, sampleValues) {
				got, err := s.ask(q.Database, q.Text)
				if err != nil {
					t.Errorf("%s, %s: %v\n%s", q.Dashboard, q.Panel, err, q.Text)
				} else if len(got) == 0 {
					t.Errorf("%s, %s: no answer although every field has data\n%s", q.Dashboard, q.Panel, q.Text)
				}
			}
			t.Run("zones", func(t *testing.T) { checkZones(t, s) })
			t.Run("map", func(t *testing.T) { checkMap(t, s) })
			t.Run("choices", func(t *testing.T) { checkChoices(t, s) })
			t.Run("links", func(t *testing.T) { checkLinkValues(t, s) })
			t.Run("same choices", func(t *testing.T) { checkSameChoices(t, s) })
			t.Run("way down", func(t *testing.T) { checkWayDown(t, s) })
			t.Run("going on", func(t *testing.T) { checkGoingOn(t, s) })
			t.Run("answers", func(t *testing.T) { checkAnswers(t, s) })
			t.Run("log", func(t *testing.T) { checkNarrowed(t, s); checkNames(t, s) })
			t.Run("tables", func(t *testing.T) { checkTables(t, s) })
		})
	}
}

// checkAnswers: some queries with known results, so that arithmetic and filters
// are right and not only accepted.
func checkAnswers(t *testing.T, s *server) {
	for _, c := range []struct {
		dashboard, panel string
		column           string
		want             float64 // in the first row that has a value
	}{
		// four edges (100, 200, 300 and 400 octets per 10 s), both directions: 200 octets/s
		{"overview", "Throughput", "throughput", 200},
		{"overview", "Active connections", "active", 1000},
		{"overview", "Top edges by bytes to the server", "bytes", 400 * sampleIntervals},
		{"overview", "Attributed", "coverage", 1},
		// in: as the server of the first edge 100/10 s
		{"container", "In, by peer", "in", 10},
		{"container", "Out, by peer", "out", 10},
		{"container", "Connections per second", "accepted", 10},
		// served: the first edge; 100 requests in 10 s, 0.25 s for each 100
		{"service", "Requests per second", "requests", 10},
		{"service", "Response time", "mean", 0.0025},
		{"service", "Per connection", "accept queue", 0.0025},
		{"service", "Callers with failed attempts", "ratio", 1},
		{"service", "Callers", "callers", 1},
		{"service", "Throttled periods", "throttled", 1},
		{"service", "Memory", "memory_working_set_bytes", 100},
		{"service", "Accept queue", "listen_queue", 100},
		{"service", "CPU by process", "used", 0.05},
		{"service", "Open files by process", "open_files", 100},
		{"health", "CPU", "cpu", 0.025},
		// every edge; as the client sees it: all but the one that only its server tells
		{"edge", "Throughput", "throughput", 200},
		{"edge", "Segments sent again", "to server", 1},
		{"edge", "Per request, as the client sees it", "waiting", 0.00125},
		{"edge", "Requests by operation", "requests", 30},
		{"connections", "Ended connections by end reason", "connections", 3},
		{"connections", "Longest", "duration_seconds", 0.25},
		// of the two edges that ask DNS one is told NXDOMAIN
		{"dns", "Questions per second", "questions", 50},
		{"dns", "NXDOMAIN", "nxdomain", 200},
		{"dns", "Slow names", "longest", 0.25},
		{"dns", "Slow names", "waits", 100 * sampleIntervals},
		{"dns", "Who asks", "requests", 300 * sampleIntervals},
		{"errors", "Failed attempts", "failed", 1000},
		{"errors", "Failing edges by cause", "failed_refused", 100 * sampleIntervals},
		{"errors", "Failing requests", "errors", 100 * sampleIntervals},
		{"errors", "Events by type", "events", 1},
		// one edge is TLS: 400 handshakes in 10 s, 0.25 s for all of them
		{"tls", "Handshakes per second", "handshakes", 40},
		{"tls", "Whole handshake", "mean", 0.25 / 400},
		{"tls", "Next to expire", "left", 0.25},
		{"tls", "Certificates that expire soon", "expires", 400. / 1e6},
		{"tls", "Certificates that expire soon", "left", 0.25},
		{"tls", "Slowest handshakes", "handshake_count", 400 * sampleIntervals},
		{"tls", "Failing requests", "errors", 400 * sampleIntervals},
		// two edges leave the site, one the host only
		{"capacity", "External", "external", 140},
		{"capacity", "To other hosts", "across", 40}, // of the fleet
		// b's server and, in the other direction, b's client; one edge within a zone, of one nothing is known
		{"capacity", "Between zones and within", "between zones", 20 * (2 + 4)},
		{"capacity", "Between zones and within", "within a zone", 20},
		{"capacity", "Between zones and within", "zone not known", 60},
		{"capacity", "Edges between zones", "bytes", 2 * 400 * sampleIntervals},
		{"capacity", "Top servers", "bytes", 2 * 600 * sampleIntervals},
		{"capacity", "What it costs", "cpu", 2 * 0.5 * sampleIntervals},
		{"capacity", "What it costs", "memory", 400},
		{"capacity", "What it costs", "as server", 2 * 300 * sampleIntervals},
		{"capacity", "CPU", "cores", 0.2},
		// of the chosen container alone
		{"processes", "Processes", "cpu", 0.5 * sampleIntervals},
		{"processes", "As server", "bytes", 20},
		{"anomalies", "Errors", "events", 1},
		{"anomalies", "Warnings", "events", 2},
		{"anomalies", "Where most happens", "events", sampleIntervals},
		{"anomalies", "Information", "events", 1},
		{"anomalies", "Most unusual edges", "intervals", sampleIntervals},
		{"anomalies", "Most unusual edges", "score", 0.25},
	} {
		t.Run(c.dashboard+" "+c.panel, func(t *testing.T) {
			if v, ok := s.value(t, c.dashboard, c.panel, c.column, sampleValues); !ok || v != c.want {
				t.Errorf("%s = %v, want %v", c.column, v, c.want)
			}
		})
	}
}

// value is the first number of a column in the answer to a panel's query.
func (s *server) value(t *testing.T, dashboard, panel, column string, v Values) (float64, bool) {
	t.Helper()
	for _, q := range mustQueries(t, v) {
		if q.Dashboard != dashboard || q.Panel != panel || !strings.Contains(q.Text, `"`+column+`"`) {
			continue
		}
		got, err := s.ask(q.Database, q.Text)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(q.Text)
		return got.first(column)
	}
	t.Fatal("no such query")
	return 0, false
}

// answer is what InfluxDB calls series.
type answer []struct {
	Name    string
	Tags    map[string]string
	Columns []string
	Values  [][]any
}

// first returns the first number of a column.
func (a answer) first(column string) (float64, bool) {
	for _, s := range a {
		for i, c := range s.Columns {
			if c != column {
				continue
			}
			for _, row := range s.Values {
				if v, ok := row[i].(float64); ok {
					return v, true
				}
			}
		}
	}
	return 0, false
}
