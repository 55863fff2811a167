// Package live holds what the probe sees now, for readers inside the process:
// the local API, the plain table, weir top. The goroutine that owns the
// sink.Aggregator publishes an immutable Snapshot per interval; any number of
// readers take it without a lock.
package live
