// Package load makes the rows of a host with many containers, through the same
// sinks as the program, and measures the dashboards on them: every query of every
// page, on a real InfluxDB, over a week.
//
//	go test ./test/load -run TestDashboards -week -v -timeout 20m [-interval 10m] [-containers 100]
//
// Without -week it is two hours: that each query is answered, and that the rows
// add up.
package load
