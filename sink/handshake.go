package sink

import (
	"slices"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/sink/lineproto"
)

// registeredALPN are IANA's TLS ALPN protocol ids (RFC 7301), sorted: clients make up
// others, and multiply them with the names they ask for.
var registeredALPN = [...]string{
	"acme-tls/1", "c-webrtc", "co", "coap", "dicom", "doq", "dot", "ftp", "h2", "h2c", "h3", "http/0.9", "http/1.0", "http/1.1",
	"imap", "irc", "managesieve", "mqtt", "nnsp", "nntp", "ntske/1", "pop3", "postgresql", "radius/1.0", "radius/1.1", "sip/2",
	"smb", "spdy/1", "spdy/2", "spdy/3", "stun.nat-discovery", "stun.turn", "sunrpc", "tds/8.0", "webrtc", "xmpp-client", "xmpp-server",
}

// alpnTag is the value of the tag `alpn`.
func alpnTag(alpn string) string {
	if alpn == "" {
		return ""
	}
	if _, ok := slices.BinarySearch(registeredALPN[:], alpn); ok {
		return alpn
	}
	return Other
}

// handshakeSums is what the handshakes of one series of l7 told in an interval.
type handshakeSums struct {
	took     *dist.Histogram // nil when nothing was timed
	notAfter int64           // the first of the certificates that expires, unix ns; 0: none was seen
}

func (a *Aggregator) addHandshakes(s *handshakeSums, tl *correlate.Tally) {
	a.merge(&s.took, &tl.Handshake)
	if tl.NotAfter != 0 && (s.notAfter == 0 || tl.NotAfter < s.notAfter) {
		s.notAfter = tl.NotAfter
	}
}

func (s *handshakeSums) write(enc *lineproto.Encoder, now int64, buckets bool) {
	if s.took != nil {
		writeDistribution(enc, &HandshakeTime, s.took, buckets)
	}
	if s.notAfter != 0 {
		enc.Int(FieldNotAfter, s.notAfter)
		enc.Float(FieldCertificateLeft, float64(s.notAfter-now)/1e9)
	}
}

// writeHandshake writes what flow_log has to say of a connection's handshake.
func writeHandshake(enc *lineproto.Encoder, h *correlate.Handshake) {
	known(enc, LogTLSVersion, h.Version)
	known(enc, TagServerName, h.ServerName)
	known(enc, TagALPN, h.ALPN)
	if h.Took > 0 {
		enc.Float(LogHandshake, float64(h.Took)/1e9)
	}
	if h.NotAfter != 0 {
		enc.Int(FieldNotAfter, h.NotAfter)
	}
}
