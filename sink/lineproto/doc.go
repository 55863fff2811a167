// Package lineproto encodes InfluxDB line protocol
// (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/)
// by appending to one buffer, without allocating.
//
// It is stricter than the servers: whatever strings go in, each row comes out
// as exactly one line that influxd 1.x, 2.x and 3 read alike. What the parsers
// disagree on (control characters, invalid UTF-8, a backslash where it could be
// taken for an escape) is replaced, what no server stores (NaN, Inf, empty tag
// values, rows without a field) is left out, and every such case is counted.
package lineproto
