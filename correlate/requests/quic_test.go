package requests

import (
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
	"github.com/weir-probe/weir/flows/l7/quic"
	"github.com/weir-probe/weir/kprobes"
)

// Whose end of a QUIC connection a socket is, its payload tells where the kernel does
// not: a server's socket is bound and never connected.
func TestQUICFindsItsRole(t *testing.T) {
	for i, chunks := range l7test.Capture(t, "../../flows/l7/quic/testdata/echo.pcap") {
		want := l7test.Run(quic.Spec, chunks)[0]
		for _, atServer := range []bool{true, false} {
			for _, known := range []bool{true, false} {
				r := &correlate.Record{Proto: flows.UDP, Final: true}
				own, peer, role := &r.Client, &r.Server, kprobes.RoleClient
				if atServer {
					own, peer, role = peer, own, kprobes.RoleServer
				}
				own.Cookie, peer.Port = 5, 9
				if !known {
					role = kprobes.RoleUnknown
				}
				k := New(Config{}, []l7.Spec{quic.Spec}, nil)
				for _, c := range chunks {
					k.Payload(&kprobes.PayloadEvent{
						Cookie: 5, Role: role, Out: (c.Dir == l7.ToClient) == atServer, Time: c.Time, Turn: true,
						Len: uint32(len(c.Data)), Data: c.Data, Key: flows.Key{Proto: flows.UDP, DstPort: 9},
					})
				}
				k.Take(r)
				if r.Requests == nil || len(r.Requests.Messages) != 1 {
					t.Fatalf("told %+v", r.Requests)
				}
				tl := r.Requests.Messages[0]
				if tl.Status != want.Status || tl.ServerName != want.Host || tl.ALPN != want.ALPN || tl.RequestOctets != want.RequestOctets || tl.ResponseOctets != want.ResponseOctets {
					t.Errorf("connection %d, at the server: %v, which is known: %v: told %+v, want %+v", i, atServer, known, tl, want)
				}
			}
		}
	}
}
