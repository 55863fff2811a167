// Package memcached follows connections of memcached's text protocol, with its
// meta commands, and of the binary protocol (doc/protocol.txt and
// doc/protocol-binary.txt of memcached).
//
// Operation is the command as the text protocol calls it (a quiet binary command
// is told by the name of the other: get for GetKQ); keys are never looked at.
// Status is HIT or MISS for commands that read, whatever the protocol calls it,
// else the server's word (STORED, NOT_FOUND, EXISTS …). ERROR, CLIENT_ERROR,
// SERVER_ERROR and the binary protocol's statuses like them are failed.
//
// Requests with noreply are OneWay. Quiet requests (binary …Q, meta with flag q)
// are answered only if the result is worth it: one that a later answer proves to
// have been left without is OneWay. watch and lru_crawler metadump are Streaming.
//
// Text answers carry no id. After a hole that may have held a request or an
// answer the parser tells what was open as Lost and begins anew where the client
// speaks after the server did; what follows is told as Lost, too, as long as it is in
// doubt whose answer is whose (open.Place). Holes inside a value do no harm, in the
// binary protocol holes inside any body.
//
// A connection keeps 3 lines of 0.5 KiB and the open requests (package open: at
// most 16 KiB).
package memcached
