package http2

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/route"
)

// Error codes of RFC 9113 section 7.
const (
	errNone     = 0
	errRefused  = 7
	errCancel   = 8
	errCalm     = 11
	errSecurity = 12
)

var errorNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func errorName(code uint32) string {
	if code < uint32(len(errorNames)) {
		return errorNames[code]
	}
	return "ERROR"
}

// Status codes of gRPC.
const (
	grpcCancelled  = 1
	grpcUnknown    = 2
	grpcDeadline   = 4
	grpcDenied     = 7
	grpcExhausted  = 8
	grpcNoMethod   = 12
	grpcInternal   = 13
	grpcDown       = 14
	grpcDataLoss   = 15
	grpcNoIdentity = 16
)

var grpcNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// isServerError is the rule of the OpenTelemetry conventions for gRPC servers.
func isServerError(code int) bool {
	switch code {
	case grpcUnknown, grpcDeadline, grpcNoMethod, grpcInternal, grpcDown, grpcDataLoss:
		return true
	}
	return false
}

// isGRPC: application/grpc and application/grpc+proto; not application/grpc-web.
func isGRPC(v *value) bool {
	const want = "application/grpc"
	return v.set && bytes.HasPrefix(v.b, []byte(want)) &&
		(len(v.b) == len(want) || v.b[len(want)] == '+' || v.b[len(want)] == ';')
}

// appendCall appends /package.Service/Method; a path that is none becomes a route.
func appendCall(dst []byte, path *value) []byte {
	b := path.b
	slashes := 0
	ok := len(b) > 0 && b[0] == '/' && len(b) <= l7.MaxOperation && !path.more
	for _, c := range b {
		switch {
		case c == '/':
			slashes++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			ok = false
		}
	}
	if ok && slashes == 2 && b[len(b)-1] != '/' {
		return append(dst, b...)
	}
	cut := route.Whole
	if path.more {
		cut = route.Shortened
	}
	return route.Append(dst, []byte("POST"), b, cut)
}

// parseGRPC reads a grpc-status; one that is none is UNKNOWN.
func parseGRPC(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > len(grpcNames) {
			return grpcUnknown
		}
		n = n*10 + int(c-'0')
	}
	if len(b) == 0 || n >= len(grpcNames) {
		return grpcUnknown
	}
	return n
}

// grpcStatus completes the message of a call that the server has ended.
func (p *parser) grpcStatus(r *stream, m *l7.Message) {
	code := r.grpcStatus
	switch {
	case code >= 0:
	case r.blind || r.holed[l7.ToClient] || r.code == 0:
		m.Outcome = l7.Lost // it was in what could not be read
		return
	case r.code != 200:
		code = grpcOfHTTP(r.code)
	default:
		code = grpcUnknown // ended without a status
	}
	m.Status, m.Failed = append(p.word[:0], grpcNames[code]...), isServerError(code)
}

// grpcOfHTTP is doc/http-grpc-status-mapping.md of gRPC.
func grpcOfHTTP(code int) int {
	switch code {
	case 400:
		return grpcInternal
	case 401:
		return grpcNoIdentity
	case 403:
		return grpcDenied
	case 404:
		return grpcNoMethod
	case 429, 502, 503, 504:
		return grpcDown
	}
	return grpcUnknown
}

// grpcOfError is the table "Errors" of doc/PROTOCOL-HTTP2.md of gRPC.
func grpcOfError(code uint32) int {
	switch code {
	case errRefused:
		return grpcDown
	case errCancel:
		return grpcCancelled
	case errCalm:
		return grpcExhausted
	case errSecurity:
		return grpcDenied
	}
	return grpcInternal
}
