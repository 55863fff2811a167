// Package nats follows connections of the NATS client protocol.
//
// Operation is the verb and, where it has one, the template of the subject: PUB
// orders.created, MSG orders.*, PUB _INBOX. Of a subject the first three tokens are
// kept, a token with a digit in it or a long one is *, what comes after them is >;
// inboxes are _INBOX and acknowledgements of JetStream $JS.ACK. A connection has at
// most 64 templates, more are told by the verb and > only: subjects are made by
// clients.
//
// A PUB with a reply subject waits for the message on that subject: it is answered
// by it, and the time between is the response time. Status is OK, or the status of
// the message's header (503: nobody serves the subject) or of a JetStream API error,
// both failed but for those of a header that say that nothing is there (100, 404,
// 408). What is asked of JetStream's CONSUMER.MSG.NEXT comes by other subjects: OneWay.
//
// Everything else is OneWay: PUB, SUB, UNSUB, MSG; but in verbose mode each is
// answered by +OK or -ERR. CONNECT is answered by the first +OK, PONG or -ERR, PING
// by PONG; a PING of the server is not told. An -ERR that answers nothing is told
// as OneWay with its text as status, shortened to what is constant in it.
//
// Payload is skipped, and holes in it do no harm. After any other hole a direction
// is read again from where it begins a turn; requests that wait for a message on
// their reply subject are not touched by that.
//
// A connection keeps 2 lines of 1 KiB, 2 beginnings of 0.25 KiB, the open requests (package open: at most
// 2 x 16 KiB) and 64 templates of 128 octets.
package nats
