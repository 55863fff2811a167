// Package usage reads what control groups have used: CPU time and throttling,
// memory, OOM kills, block I/O, processes and pressure (PSI), of cgroup v1, v2
// and hosts with both.
//
// The owner of the control group table says which groups; a Sampler reads their
// files in a goroutine of its own and hands over, for each group, how much its
// counters rose since the reading before and what its gauges say now. Reading is
// done at the interval's end, so that the rows stand beside those of the traffic.
package usage
