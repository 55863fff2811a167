// Package http1 follows HTTP/1.0 and 1.1 (RFC 9110, RFC 9112) in passing: method
// and templated route, status code, times and octets of every request. Header
// values and queries are never told. A connection keeps less than 32 KiB, most of
// it for 256 open requests.
package http1
