package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/weir-probe/weir/dashboards"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/influxd"
)

// refusals is how many connections knock makes to a port where nobody listens.
const refusals = 20

// knock is a container that is refused by the db.
func (w *world) knock(dbIP string) {
	w.t.Helper()
	id := w.container("knock", dockerd.Compose("shop", "knock", 1), "client", "-addr", dbIP+":9999", "-n", fmt.Sprint(refusals), "-log", "/dev/null")
	w.engine.Docker(w.t, "wait", id)
}

// moved is the truth of the connections of one client: of the client's end.
type moved struct{ sent, received, connections float64 }

func sumOf(truths []truth) (m moved) {
	for _, x := range truths {
		if x.Role == "client" {
			m.sent, m.received, m.connections = m.sent+float64(x.Sent), m.received+float64(x.Received), m.connections+1
		}
	}
	return m
}

// how a panel makes a number of the answer to its query.
type how int

const (
	figure   how = iota // the value there is
	added               // the sum of all points, or of the rows of an edge's ports and processes
	integral            // of a rate: the sum of all points times their width
	latest              // the last point
)

// shown is a number on a page and what it has to be.
type shown struct {
	page, panel, column string
	how                 how
	of                  map[string]string // tags, or columns, of the line or row
	want                float64
}

const pointWidth = 10 * time.Second

// checkPages: the numbers on the pages are the truth. web has asked db twice per
// connection, cron once; knock was refused.
func (w *world) checkPages(web, cron moved) {
	seconds := time.Since(w.began).Truncate(time.Millisecond).Seconds()
	values := dashboards.Values{
		TimeFilter: fmt.Sprintf("time >= %dms and time <= %dms", w.began.UnixMilli(), w.began.UnixMilli()+int64(seconds*1000)),
		Interval:   pointWidth, Range: time.Duration(seconds * float64(time.Second)),
		Variables: map[string]string{ // as Grafana escapes them
			"edge.client": `shop\/web`, "edge.server": `shop\/db`, "service.service": `shop\/db`,
			"container.container": "shop_db_1", "processes.container": "web", "connections.client": `shop\/web`,
		},
	}
	queries, err := dashboards.QueriesWith(values)
	if err != nil {
		w.t.Fatal(err)
	}
	fromWeb, webToDB := map[string]string{"client": "shop/web"}, map[string]string{"client": "shop/web", "server": "shop/db"}
	cronToDB, refused := map[string]string{"client": "shop/cron", "server": "shop/db"}, map[string]string{"client": "shop/knock", "server": "shop/db"}
	both := web.sent + web.received
	for _, s := range []shown{
		{"edge", "Throughput", "throughput", figure, nil, both / seconds},
		{"edge", "Opened", "opened", added, nil, web.connections},
		{"edge", "Failed", "failed", added, nil, 0},
		{"edge", "Active connections", "active", latest, nil, 0},
		{"edge", "Requests per second", "requests", figure, nil, 2 * web.connections / seconds},
		{"edge", "Traffic", "to server", integral, nil, web.sent},
		{"edge", "Traffic", "to client", integral, nil, web.received},
		{"edge", "Connections per second", "attempts", integral, nil, web.connections},
		{"edge", "Connections per second", "closed", integral, nil, web.connections},
		{"edge", "Edges", "opened", added, webToDB, web.connections},
		{"overview", "Top edges by bytes to the client", "bytes", figure, webToDB, web.received},
		{"overview", "Top edges by bytes to the server", "bytes", figure, webToDB, web.sent},
		{"overview", "Edges", "opened", added, cronToDB, cron.connections},
		{"overview", "Edges", "to_server_bytes", added, cronToDB, cron.sent},
		{"overview", "Edges", "to_client_bytes", added, cronToDB, cron.received},
		{"topology", "Map", "mainstat", added, map[string]string{"source": "shop/web", "target": "shop/db"}, both},
		{"service", "Requests by caller", "requests", integral, fromWeb, 2 * web.connections},
		{"service", "Requests by caller", "requests", integral, map[string]string{"client": "shop/cron"}, cron.connections},
		{"service", "Failed attempts", "failed", added, nil, refusals},
		{"container", "In, by peer", "in", integral, fromWeb, web.sent},
		{"container", "Out, by peer", "out", integral, fromWeb, web.received},
		{"processes", "As client", "bytes", integral, map[string]string{"client_process": "workload"}, both},
		{"connections", "Ended connections by edge", "connections", added, webToDB, web.connections},
		{"capacity", "Top clients", "bytes", figure, fromWeb, both},
		{"capacity", "By client", "bytes", integral, fromWeb, both},
		{"capacity", "What it costs", "as client", figure, map[string]string{"name": "shop/web"}, both},
		{"errors", "Failed attempts by edge", "failed", added, refused, refusals},
		{"overview", "Edges", "failed", added, refused, refusals},
		{"errors", "Failing edges by cause", "failed_refused", added, refused, refusals},
	} {
		if got := w.number(queries, s); math.Abs(got-s.want) > 1e-6*math.Max(1, s.want) {
			w.t.Errorf("page %s, %s, %s of %v: %v, the truth is %v", s.page, s.panel, s.column, s.of, got, s.want)
		}
	}
}

// number is what a panel shows. Of two panels of one title the one is meant whose query
// is of points, or is not, as the number is made.
func (w *world) number(queries []dashboards.Query, s shown) float64 {
	w.t.Helper()
	for _, q := range queries {
		points := strings.Contains(q.Text, "GROUP BY time(")
		if q.Dashboard != s.page || q.Panel != s.panel || !strings.Contains(q.Text, `"`+s.column+`"`) || s.how != added && points != (s.how != figure) {
			continue
		}
		sum, last, n := 0.0, 0.0, 0
		for _, r := range w.db.QueryInfluxQL(w.t, q.Database, q.Text) {
			if v, ok := r.Values[s.column].(json.Number); ok && isOf(r, s.of) {
				last, _ = v.Float64()
				sum, n = sum+last, n+1
			}
		}
		switch {
		case n == 0 || s.how == figure && n != 1:
			w.t.Errorf("page %s, %s, %s of %v: %d numbers: %s", s.page, s.panel, s.column, s.of, n, q.Text)
		case s.how == integral:
			return sum * pointWidth.Seconds()
		case s.how == latest:
			return last
		}
		return sum
	}
	w.t.Errorf("page %s has no %s with %s", s.page, s.panel, s.column)
	return math.NaN()
}

func isOf(r influxd.Row, of map[string]string) bool {
	for k, v := range of {
		if r.Tags[k] != v && r.Values[k] != v {
			return false
		}
	}
	return true
}
