// Package tls follows the handshake of TLS 1.0 to 1.3 (RFC 8446, 5246, 6066, 7301)
// in passing; package quic shares its reading of the hellos.
//
// A connection is one Message, told when the handshake is over: Operation is the
// negotiated version (TLS 1.3), Status ok or the name of the fatal alert (then it
// is Failed), Host the server name the client asked for, ALPN and NotAfter as far
// as they are visible: the server's choice and its certificate up to TLS 1.2, the
// client's first offer in TLS 1.3. The response time is that of the ServerHello
// (`response_…` of l7). The handshake's is Message.HandshakeTime (`handshake_…`), from
// the first octet of the ClientHello to ResponseLast: both sides have changed their
// cipher (TLS 1.2), or the client has answered the server's flight (TLS 1.3). Where the client
// offers data before that (0-RTT) its end cannot be seen, and is not told. An alert
// that is encrypted already is known by its size: the client's first encrypted
// record of TLS 1.3 is never that short otherwise; its Status is encrypted_alert.
//
// Then the parser is Opaque: nothing behind it is looked at. A hole within a record
// keeps the place; any other is made good at the next turn that begins with a
// record. A hello that was not seen makes the message Lost.
//
// A connection costs at most 9 KiB until the handshake is over; what does not fit
// (a hello or the head of a certificate longer than 4 KiB) is not looked at.
package tls
