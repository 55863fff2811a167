// Package http1 follows HTTP/1.0 and 1.1 (RFC 9110, RFC 9112) in passing: method
// and templated route, status code, the name of the server, times and octets of
// every request. Other header values and queries are never told. Answers that may be
// another request's, after a hole, are Lost (open.Place). A connection keeps less than
// 96 KiB: 256 open requests, 256 operations of 128 octets, 64 names of 253.
package http1
