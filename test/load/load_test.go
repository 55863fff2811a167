package load

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/decode"
	"github.com/weir-probe/weir/test/document"
	"github.com/weir-probe/weir/test/influxd"
)

var (
	week       = flag.Bool("week", false, "a week (or -length) of -containers instead of three hours of 20")
	span       = flag.Duration("length", 7*24*time.Hour, "with -week: of what is written and asked for")
	piece      = flag.Duration("piece", time.Hour, "with -week: how much of it is written, whole hours; the rest are copies")
	keep       = flag.String("keep", "", "leave the servers' data in this `DIR`, and take it from there the next time")
	interval   = flag.Duration("interval", 10*time.Second, "with -week: of the rows")
	containers = flag.Int("containers", 100, "with -week: on the host")
	only       = flag.String("only", "", "of the queries those whose view, page and panel match this `REGEXP`")
	version    = flag.String("influxdb", "", "only this version")
	table      = flag.String("table", "", "write what was measured into this `FILE`, docs/dashboards.md")
)

// end of the time that is measured: setup adds up what is past, by the clock.
var end = time.Now().Truncate(24 * time.Hour)

const logRetention = 24 * time.Hour // of weir_log, by default

// TestHost: every measurement has rows, of edges both inside and outside.
func TestHost(t *testing.T) {
	h := NewHost(20, 10*time.Minute)
	rows := map[string]int{}
	var sent int64
	for i := range 6 {
		err := h.Interval(end.Add(time.Duration(i)*10*time.Minute), true, func(b *sink.Batch) error {
			for line := range strings.Lines(string(b.Lines)) {
				r, err := decode.Parse([]byte(strings.TrimSuffix(line, "\n")))
				if err != nil {
					return err
				}
				rows[r.Measurement]++
				if r.Measurement == sink.MeasurementFlow {
					sent += r.Int(sink.FieldToServerBytes)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range sink.Measurements() {
		if rows[m.Name] == 0 {
			t.Errorf("no rows of %s", m.Name)
		}
	}
	if truth := h.Truth(); sent == 0 || uint64(sent) != truth.ToServer {
		t.Errorf("rows of flow say %d octets, the host sent %d", sent, truth.ToServer)
	}
	if got := rows[sink.MeasurementContainer]; got != 6*20 {
		t.Errorf("%d rows of container, want %d", got, 6*20)
	}
}

// TestDashboards fills real servers and asks them every query of every page.
func TestDashboards(t *testing.T) {
	written, length, step, n := time.Hour, 3*time.Hour, 30*time.Second, 20
	if *week {
		written, length, step, n = *piece, *span, *interval, *containers
	}
	for _, v := range []string{influxd.V1, influxd.V2} {
		if *version != "" && *version != v {
			continue
		}
		t.Run(v, func(t *testing.T) {
			db, truth := filled(t, v, NewHost(n, step), written, length, step)
			views := viewsOf(length, step)
			for _, v := range views {
				v.checkSum(t, db, length, truth.ToServer)
			}
			text := measure(t, db, views)
			text += fmt.Sprintf("\n(InfluxDB %s, %s: %s of %d containers and %d edges, every %v: %.1f million rows. On disk: %s.)\n",
				v, time.Now().Format(time.DateOnly), short(length), n, truth.Edges, step, float64(truth.Rows)/1e6, onDisk(t, db))
			t.Logf("\n%s", text)
			if *table != "" && !t.Failed() {
				document.Replace(t, *table, "measured "+v, text)
			}
		})
	}
}

func onDisk(t *testing.T, db *influxd.Server) string {
	var list []string
	for _, name := range databases {
		list = append(list, fmt.Sprintf("`%s` %.0f MB in %d series", name, float64(db.Disk(t, name))/1e6, db.Series(t, name, "")))
	}
	return strings.Join(list, ", ")
}
