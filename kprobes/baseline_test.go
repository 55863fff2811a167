package kprobes

import (
	"net"
	"testing"
)

// TestKernelBaseline: of a connection older than the probe only what comes
// after is billed, its role is found, and both ends pair.
func TestKernelBaseline(t *testing.T) {
	requireRoot(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, server := dial(t, ln)
	lp, rp := ports(client)
	transfer(t, client, server, 54_321)
	transfer(t, server, client, 999)
	f := start(t, Config{})
	f.need("bootstrap_sockets")
	found := false
	for k := range f.set.Listeners {
		found = found || k.SrcPort == rp
	}
	if !found {
		t.Error("the older listener is not known")
	}
	ce, se := f.socket(SocketSnapshot, lp, rp), f.socket(SocketSnapshot, rp, lp)
	if ce == nil || se == nil {
		t.Fatal("the older connection was not found")
	}
	if ce.Role != RoleClient || se.Role != RoleServer || ce.Owner.How != OwnerBootstrap || ce.Owner.PID != hostPID(t, f) {
		t.Errorf("roles %d, %d, owner %+v", ce.Role, se.Role, ce.Owner)
	}
	if ce.SndBase != se.RcvBase || ce.RcvBase != se.SndBase || !ce.HasBase {
		t.Errorf("bases do not pair: client %d/%d, server %d/%d", ce.SndBase, ce.RcvBase, se.SndBase, se.RcvBase)
	}
	transfer(t, client, server, 1000)
	transfer(t, server, client, 20)
	client.Close()
	eof(t, server)
	server.Close()
	e := *f.closed(lp, rp)
	if !e.Baseline || !e.Self || e.Sent != 1000 || e.Received != 20 || e.Opened != 0 || e.Established != 0 || e.Owner.How != OwnerIO {
		t.Errorf("client %+v", e)
	}
	e = *f.closed(rp, lp)
	if !e.Baseline || e.Sent != 20 || e.Received != 1000 {
		t.Errorf("server %+v", e)
	}
}

// TestKernelHalfClosedBaseline: the FIN that was there before the probe is not
// taken for payload after it.
func TestKernelHalfClosedBaseline(t *testing.T) {
	requireRoot(t)
	client, server := pair(t)
	lp, rp := ports(client)
	transfer(t, client, server, 5000)
	client.CloseWrite()
	eof(t, server)
	f := start(t, Config{})
	f.need("bootstrap_sockets")
	transfer(t, server, client, 300)
	server.Close()
	eof(t, client)
	client.Close()
	ce, se := *f.closed(lp, rp), *f.closed(rp, lp)
	if ce.Sent != 0 || ce.Received != 300 || se.Sent != 300 || se.Received != 0 {
		t.Errorf("client %d/%d, server %d/%d", ce.Sent, ce.Received, se.Sent, se.Received)
	}
	if ce.Role != RoleClient || se.Role != RoleServer || ce.SndBase != se.RcvBase || ce.RcvBase != se.SndBase {
		t.Errorf("roles %d, %d; bases %d/%d, %d/%d", ce.Role, se.Role, ce.SndBase, ce.RcvBase, se.SndBase, se.RcvBase)
	}
}
