// Package l7 is the vocabulary of the application-protocol parsers below it: what
// a Parser is given (Chunk), what it tells (Message), and how a protocol is
// recognised by its content (Spec). A parser listens; it never asks, waits or
// allocates per message, knows no clock but the time in a Chunk, and bounds
// whatever a client can make it keep.
//
// Payload reaches a parser in order per direction, with holes: the kernel copies
// the beginning of each turn of a connection, not bulk data, and may begin in the
// middle of a connection. A parser that has lost its place says so (Lost) and
// finds it again at a turn.
package l7
