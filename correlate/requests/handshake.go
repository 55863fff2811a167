package requests

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows/l7"
)

// secured takes what a message tells of a handshake. There is one in a connection, so
// what is kept of it is made once.
func (t *Tracker) secured(s *stream, tl *correlate.Tally, m *l7.Message) {
	if m.Protocol != l7.TLS && m.Protocol != l7.QUIC {
		return
	}
	took, whole := m.HandshakeTime()
	if whole {
		t.time(&tl.Handshake, took)
	}
	if m.NotAfter != 0 && (tl.NotAfter == 0 || m.NotAfter < tl.NotAfter) {
		tl.NotAfter = m.NotAfter
	}
	s.life.Handshake = &correlate.Handshake{
		Version:    t.name(m.Operation[:min(len(m.Operation), l7.MaxOperation)]),
		ServerName: t.name(m.Host[:min(len(m.Host), l7.MaxHost)]),
		ALPN:       t.name(m.ALPN[:min(len(m.ALPN), l7.MaxALPN)]),
		Took:       took, NotAfter: m.NotAfter,
	}
}
