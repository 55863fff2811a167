package sink

// The part of the schema that the handshakes of TLS and QUIC fill.

// TagALPN is a tag of l7 and, as it was asked for, a field of flow_log.
const TagALPN = "alpn"

// HandshakeTime is the distribution of the time from the first octet of a ClientHello to
// the end of the handshake.
var HandshakeTime = distribution("handshake")

// Fields of l7; FieldNotAfter is one of flow_log, too.
const (
	FieldNotAfter        = "certificate_not_after"
	FieldCertificateLeft = "certificate_left_seconds"
)

// More fields of flow_log.
const (
	LogTLSVersion = "tls_version"
	LogHandshake  = "handshake_seconds"
)

func handshakeFields() []Field {
	return append(HandshakeTime.fields("whole handshakes of TLS that succeeded, first octet of the ClientHello until both ends have changed their cipher (TLS 1.2) or the client has answered the server's flight (TLS 1.3); not of QUIC, whose end is encrypted"),
		Field{Name: FieldNotAfter, Type: Int, Unit: Nanos, Semantics: Min, Meaning: "when the first of the servers' certificates seen in the interval expires, since 1970; absent: none was seen (TLS 1.3, a resumed session, QUIC)"},
		Field{Name: FieldCertificateLeft, Type: Float, Unit: Seconds, Semantics: Min, Meaning: "from the row's time until then; negative: it has expired"})
}

func logHandshakeFields() []Field {
	return []Field{
		label(LogTLSVersion, "version of TLS or QUIC, as the operation in l7; unknown: the server did not say; absent: no handshake was seen"),
		label(TagServerName, "whom the client asked for in its handshake (SNI)"),
		label(TagALPN, "application protocol of the handshake: the server's choice (up to TLS 1.2), else the first that the client offered (TLS 1.3, QUIC)"),
		{Name: LogHandshake, Type: Float, Unit: Seconds, Semantics: Label, Meaning: "how long the handshake of TLS took, whole; absent: it did not succeed, or its end was not seen"},
		nanos(FieldNotAfter, "when the server's certificate expires; absent: not seen (TLS 1.3, a resumed session, QUIC)"),
	}
}
