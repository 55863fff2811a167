// Package http2 follows HTTP/2 (RFC 9113) and gRPC over it from one connection's
// payload, from its preface or from its middle.
//
// One Message per stream that a client opened, told when the server ends it. Plain
// requests are named as those of HTTP/1 (package route), Status is the code, Failed
// from 500 on. A content type of application/grpc makes the Protocol GRPC, the
// Operation /package.Service/Method and the Status the name of grpc-status, from
// trailers or from a response that is nothing else; Failed for the codes that the
// OpenTelemetry conventions call errors of a server: UNKNOWN, DEADLINE_EXCEEDED,
// UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. More than one message in a
// direction, or a request that went on behind its answer's beginning, is
// Streaming. A stream reset by the server is answered with the name of the error
// (gRPC: the code it means), one reset by the client is Unanswered.
//
// Header fields are decoded from HPACK (RFC 7541) as far as they matter; Huffman
// code and the static table are those of x/net. Indices of the dynamic table count
// from its newest entry: it is enough to remember the newest 128 in order, and one
// that was added before the parser came, or before a hole in a header block, is
// known to be unknown. A request whose method, path or content type is unknown has
// the Operation unknown, never a wrong one.
//
// A hole within a frame keeps the place; any other is made good at the next turn
// that begins with a plausible frame header. Streams survive it by their number;
// what they had in the hole is missing: a time is 0, a gRPC call without status is
// Lost. What it may have added to a table of header fields makes that unknown, unless
// what follows shows that there was nothing (read).
//
// Nothing is allocated per message. A connection follows at most 100 streams and
// keeps 128 table entries of at most 256 octets and 8 KiB of a header block per
// direction, some 8 KiB in all of most; together at most 74 KiB (room). What has no
// room then is unknown, and counted: a name, an entry of the table, a block; of
// streams the one goes that is least likely to be answered yet.
package http2
