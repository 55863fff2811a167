// Package dns follows DNS (RFC 1035) in passing, over UDP and TCP: type of the
// question, response code, and the time to the answer, matched by id and question
// because ids come again on one socket. Names are never told as operations: there
// is no end of them.
package dns
