// Package dashboards makes the Grafana dashboards from typed code:
//
//	overview     every edge of the fleet: bytes, failures, latency, attribution
//	topology     the same as a map
//	errors       everything that goes wrong, on whatever edge
//	edge         one client and one server
//	service      the golden signals of one service, and where its time goes
//	container    one container (or Compose service, or workload), its peers and what it uses
//	processes    what processes use and move
//	connections  single connections (flow_log), with filters
//	dns          questions, answers, and names that connections wait for
//	capacity     who moves most, what leaves, and what CPU and memory it takes
//	anomalies    what goes on now, and events by type and severity
//	health       the probe about itself
//
// links.go says how they lead to each other: physically from host to container to
// process, logically from Compose project or namespace to service to container.
//
// longterm.go lets those about edges and containers read downsampled rows as well.
//
// chronograf/ has the core pages for Chronograf, made of the same definitions: to be
// imported by hand ("Import Dashboard"; it asks for the source), and in resources/ as
// it finds them by itself (--resources-path).
//
// The JSON in grafana/ is generated (make dashboards) and committed, so that it
// can be provisioned or imported as it is; a test compares it. Queries are
// InfluxQL, which InfluxDB 1.8, 2.x (buckets are databases by virtual DBRP
// mapping) and 3 all answer, and take their names from the schema in sink.
//
// How queries read the schema: counters are per-interval deltas, so they are
// added up and divided by the width of the graph's interval; gauges are taken at
// their last value per series before series are added up; quantiles are never
// averaged, the worst is shown. A connection between two hosts with a probe is
// reported by both; totals take the client's row.
package dashboards
