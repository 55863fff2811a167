// Package quic follows the beginning of QUIC connections (RFC 9000, 9001, 9369) in
// passing. Initial packets are protected by keys that anybody can derive from the
// client's first destination connection id: the ClientHello in them, which may be
// spread over several datagrams in any order, tells server name and ALPN.
//
// A connection is one Message: Operation is the version (QUIC v1, QUIC v2), Status
// ok, or why the server closed the connection at once (the name of the TLS alert or
// of the transport error; then it is Failed). The response time is from the
// client's first Initial to the server's; when the handshake ends is not told, nor is
// the certificate: both are encrypted. A handshake of which the server's
// ServerHello could not be read is Lost.
//
// Then the parser is Opaque. What it spends is bounded: 24 Initial packets are
// decrypted, 4 KiB of the ClientHello and 16 pieces of it kept, 10 KiB in all.
package quic
