// Package load makes the rows of a host with many containers, through the same
// sinks as the program, and measures the dashboards on them: every query of every
// page, on a real InfluxDB, over a week. Each must find something, within bounds of
// the server's CPU time.
//
//	make bench-dashboards ARGS="[-piece 1h] [-interval 10s] [-length 168h] [-containers 100] [-influxdb 2.7.12]"
//
// Without -week it is a small host over three hours: that each query is answered, and
// that the rows add up.
package load
