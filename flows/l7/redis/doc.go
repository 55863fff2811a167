// Package redis follows connections that speak RESP2 or RESP3: Redis, Valkey,
// KeyDB, Sentinel.
//
// Operation is the command, of commands with subcommands both words (CLIENT
// SETINFO); keys, values and scripts are never looked at. What is not a known
// command is "other". Status is OK, nil (a miss, or the end of waiting in vain),
// QUEUED (inside MULTI) or the first word of the error, which counts as failed
// unless it redirects (MOVED, ASK). EXEC has the first error among its answers.
//
// Commands that wait for other clients (BLPOP, WAIT, XREAD … BLOCK) and
// subscriptions are Streaming: their time is no service time. What the server
// pushes (messages of subscriptions, invalidations, MONITOR's lines) is OneWay
// with an operation "push …", and so are requests after CLIENT REPLY OFF. A
// connection that turns into a replica's is followed no further.
//
// Answers are in order and carry no id. After a hole that may have held a request
// or an answer the parser tells what was open as Lost and begins anew where the
// client speaks after the server did; what follows is told as Lost, too, as long as
// it is in doubt whose answer is whose (open.Place). Holes inside a bulk string do
// no harm.
//
// A connection keeps 2 readers of 0.7 KiB and the open requests (package open: at
// most 16 KiB).
package redis
