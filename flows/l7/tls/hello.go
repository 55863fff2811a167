package tls

import "github.com/weir-probe/weir/flows/l7"

// Versions.
const (
	TLS10 = 0x0301
	TLS12 = 0x0303
	TLS13 = 0x0304
)

// Types of handshake messages.
const (
	TypeClientHello = 1
	TypeServerHello = 2
	typeCertificate = 11
)

// extensions that are read.
const (
	extServerName        = 0
	extALPN              = 16
	extEarlyData         = 42
	extSupportedVersions = 43
)

// ClientHello is what a client offers. Its slices point into what was parsed.
type ClientHello struct {
	ServerName []byte
	ALPN       []byte // the first protocol offered
	Version    uint16 // the highest offered that is not GREASE (RFC 8701)
	EarlyData  bool   // it goes on with data before the server has answered (RFC 8446 section 4.2.10)
}

// Parse reads the body of a ClientHello, or the beginning of one; false: it is
// none. What is behind the end of b stays unknown.
func (h *ClientHello) Parse(b []byte) bool {
	*h = ClientHello{}
	r := reader{b: b}
	h.Version = r.u16()
	if r.short || h.Version>>8 != 3 {
		return false
	}
	r.skip(32)
	r.vector8()  // session
	r.vector16() // cipher suites
	r.vector8()  // compression
	r.extensions(func(kind uint16, e reader) {
		switch kind {
		case extServerName:
			h.ServerName = serverName(e)
		case extALPN:
			h.ALPN = firstALPN(e)
		case extEarlyData:
			h.EarlyData = true
		case extSupportedVersions:
			h.supported(reader{b: e.vector8()})
		}
	})
	return true
}

func (h *ClientHello) supported(r reader) {
	best := uint16(0)
	for len(r.b) >= 2 {
		if v := r.u16(); v>>8 == 3 {
			best = max(best, v)
		}
	}
	if best != 0 {
		h.Version = best
	}
}

// serverName reads the first host_name (RFC 6066 section 3); nil unless it looks
// like a name.
func serverName(r reader) []byte {
	list := reader{b: r.vector16()}
	if list.u8() != 0 {
		return nil
	}
	name := list.vector16()
	if list.short || len(name) > 255 {
		return nil
	}
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' && c != ':' {
			return nil
		}
	}
	return name
}

func firstALPN(r reader) []byte {
	list := reader{b: r.vector16()}
	for len(list.b) > 0 {
		name := list.vector8()
		if list.short {
			return nil
		}
		if grease := len(name) == 2 && name[0] == name[1] && name[0]&0xf == 0xa; !grease && printable(name) {
			return name
		}
	}
	return nil
}

// printable also bounds the length.
func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(b) <= l7.MaxALPN
}

// ServerHello is what a server chose. ALPN points into what was parsed.
type ServerHello struct {
	Version uint16 // 0: not known
	Cipher  uint16
	ALPN    []byte
	Retry   bool // a HelloRetryRequest: the client begins anew
}

var retryRandom = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// Parse reads the body of a ServerHello, or the beginning of one; false: it is
// none.
func (h *ServerHello) Parse(b []byte) bool {
	*h = ServerHello{}
	r := reader{b: b}
	h.Version = r.u16()
	random := r.take(32)
	r.vector8() // session
	h.Cipher = r.u16()
	r.u8() // compression
	if r.short && len(b) < 2 || h.Version>>8 != 3 {
		return false
	}
	h.Retry = len(random) == 32 && [32]byte(random) == retryRandom
	if r.short {
		h.Version = 0
		return true
	}
	if len(r.b) == 0 { // no extensions at all
		return true
	}
	r.extensions(func(kind uint16, e reader) {
		switch kind {
		case extSupportedVersions:
			if v := e.u16(); !e.short {
				h.Version = v
			}
		case extALPN:
			h.ALPN = firstALPN(e)
		}
	})
	return true
}

// VersionName is the Operation of a version.
func VersionName(v uint16) string {
	switch v {
	case 0x0300:
		return "SSL 3.0"
	case TLS10:
		return "TLS 1.0"
	case 0x0302:
		return "TLS 1.1"
	case TLS12:
		return "TLS 1.2"
	case TLS13:
		return "TLS 1.3"
	}
	return "unknown"
}

// AlertName is the Status of an alert (RFC 8446 section 6).
func AlertName(description byte) string {
	if name, ok := alerts[description]; ok {
		return name
	}
	return "alert"
}

var alerts = map[byte]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
	30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
	43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
	47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
	60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
	86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
	110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
	113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
	116: "certificate_required", 120: "no_application_protocol",
}
