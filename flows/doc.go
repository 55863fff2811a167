// Package flows is the vocabulary of the packet side: what a flow is, what was
// counted of it and why a record of it ended, plus the user-space metering
// process (Meter) that packet sources without an in-kernel meter feed.
//
// It stands at the packet end of the data path (packet → flow → join → enrich →
// sink) and imports nothing of Weir, no logger and no clock: time is an argument.
//
// Names follow IPFIX (RFC 7012, RFC 5103 for bidirectional flows).
package flows
