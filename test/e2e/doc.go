// Package e2e runs the whole of Weir against a real InfluxDB and a real Docker
// Engine and compares what the database says with what the workload knows.
package e2e
