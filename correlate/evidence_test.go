package correlate

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

// learned adds to a socket's event how its owner became known.
func learned(ev *kprobes.SocketEvent, opener, owner int64) *kprobes.SocketEvent {
	ev.OpenerAt, ev.OwnerAt, ev.OwnerHook, ev.Switches = opener, owner, kprobes.IOSent, 3
	return ev
}

func TestEvidenceTravels(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.1", 8080, 1)
	s := tcpKey("172.17.0.2", 80, "172.17.0.1", 40000, 12)
	j.Socket(learned(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000), t0, t0+5))
	server := learned(bases(sock(8, s, kprobes.RoleServer, 20, "nginx", t0), 2000, 1000), t0-9, t0+7)
	server.Accepted, server.Acceptor, server.Opener.How = t0+6, 19, kprobes.OwnerListener
	j.Socket(server)
	f := flow(k, t0, t0+sec/2, 800, 6000)
	f.Cookie[0] = 7
	j.Flow(f)
	r := only(t, tick(j, t0+2*sec, Running))
	want := Evidence{Owner: kprobes.OwnerIO, Hook: kprobes.IOSent, OwnedAt: t0 + 5, Switches: 3, Creator: kprobes.OwnerIO, CreatedAt: t0}
	if r.Client.Evidence != want {
		t.Errorf("client %+v", r.Client.Evidence)
	}
	want = Evidence{Owner: kprobes.OwnerIO, Hook: kprobes.IOSent, OwnedAt: t0 + 7, Switches: 3, Creator: kprobes.OwnerListener, CreatedAt: t0 - 9, Accepted: t0 + 6, Acceptor: 19}
	if r.Server.Evidence != want {
		t.Errorf("server %+v", r.Server.Evidence)
	}
	if r.JoinedBy != JoinSequence || r.PacketsBy != MethodCookie || r.NATSource != NATSockets || r.Rivals != (Rivals{}) {
		t.Errorf("joined by %v, packets by %v, NAT by %v, rivals %v", r.JoinedBy, r.PacketsBy, r.NATSource, r.Rivals)
	}
}

// Others with the same tuple are counted by why they are not this one.
func TestRivals(t *testing.T) {
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	elsewhere := k
	elsewhere.NetNS = 2
	for name, c := range map[string]struct {
		first, second *kprobes.SocketEvent
		want          [2]Rivals
	}{
		"one after the other": {
			sock(7, k, kprobes.RoleClient, 10, "a", t0), sock(8, k, kprobes.RoleClient, 11, "b", t0+sec),
			[2]Rivals{{RivalLater: 1}, {RivalEarlier: 1}},
		},
		"two namespaces": {
			sock(7, k, kprobes.RoleClient, 10, "a", t0), sock(8, elsewhere, kprobes.RoleClient, 11, "b", t0+1),
			[2]Rivals{{RivalNetNS: 1}, {RivalNetNS: 1}},
		},
		"two sockets": { // SO_REUSEPORT clients of one tuple do not exist, but lost events do
			sock(7, k, kprobes.RoleClient, 10, "a", t0), sock(8, k, kprobes.RoleClient, 11, "b", t0+1),
			[2]Rivals{{RivalCookie: 1}, {RivalCookie: 1}},
		},
	} {
		j := newTest()
		j.Socket(c.first)
		j.Socket(c.second)
		rs := tick(j, t0+3*sec, Running)
		if len(rs) != 2 {
			t.Fatalf("%s: %d records", name, len(rs))
		}
		for i, r := range rs {
			if r.Rivals != c.want[i] {
				t.Errorf("%s: %s has rivals %v, want %v", name, r.Client.Name, r.Rivals, c.want[i])
			}
		}
	}
}

// Packets without cookies of connections that follow one another on one tuple go by
// the initial sequence number, whatever the clocks say of who is nearer.
func TestPacketsByISN(t *testing.T) {
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	server := tcpKey("10.0.0.2", 80, "10.0.0.1", 40000, 2)
	for _, role := range []kprobes.Role{kprobes.RoleClient, kprobes.RoleServer, kprobes.RoleUnknown} {
		j := newTest()
		for i := range 3 {
			at := t0 + int64(i)*1e6
			isn := uint32(5000 * i)
			s := sock(uint64(7+i), k, role, uint32(10+i), "a", at)
			switch role {
			case kprobes.RoleClient:
				bases(s, isn+1, 900)
			case kprobes.RoleServer:
				s.Key = server
				bases(s, 900, isn+1)
			default:
				bases(s, isn, 900)
			}
			s.Time = at + 5e5
			j.Socket(s)
		}
		for i := range 3 { // stamped so late that each is nearest to the next
			at := t0 + int64(i)*1e6 + 9e5
			f := flow(k, at, at+5e5, 800, 6000+uint64(i))
			f.ISN, f.HasISN = uint32(5000*i), true
			j.Flow(f)
		}
		rs := tick(j, t0+3*sec, Running)
		if len(rs) != 3 {
			t.Fatalf("%v: %d records", role, len(rs))
		}
		for _, r := range rs {
			i := r.Client.Cookie
			if role == kprobes.RoleServer {
				i = r.Server.Cookie
			}
			if got := r.Total.ToClient.WireOctets; got != 6000+i-7 {
				t.Errorf("%v: cookie %d has %d octets", role, i, got)
			}
		}
	}
}

// A tuple that nothing tells apart is given to nobody, and says so.
func TestAmbiguousRivals(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	elsewhere := k
	elsewhere.NetNS = 2
	j.Socket(sock(7, k, kprobes.RoleClient, 10, "a", t0))
	j.Socket(sock(8, elsewhere, kprobes.RoleClient, 11, "b", t0))
	j.Flow(flow(k, t0, t0+sec/2, 800, 6000))
	for _, r := range tick(j, t0+5*sec, Draining) {
		if r.Client.Cookie == 0 && r.Rivals[RivalAmbiguous] != 2 {
			t.Errorf("the packets' record has rivals %v", r.Rivals)
		}
		if r.Client.Cookie != 0 && (r.Rivals[RivalAmbiguous] != 1 || r.Rivals[RivalNetNS] != 1 || r.PacketsBy != MethodNone) {
			t.Errorf("%s has rivals %v, packets by %v", r.Client.Name, r.Rivals, r.PacketsBy)
		}
	}
}

// Describing changes nothing of what is told later.
func TestDescribe(t *testing.T) {
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	fill := func() *Joiner {
		j := newTest()
		c := payload(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000), 300, 5000)
		c.Kind = kprobes.SocketSnapshot
		j.Socket(c)
		j.Socket(sock(8, tcpKey("10.0.0.1", 40001, "10.0.0.2", 80, 1), kprobes.RoleClient, 10, "curl", t0))
		j.Flow(flow(k, t0, t0+sec/2, 800, 6000))
		return j
	}
	j := fill()
	var got []Record
	describe := func(want func([]Side) bool, limit int) []Record {
		got = nil
		j.Describe(time.Unix(0, t0+sec), want, func(r *Record) bool { got = append(got, *r); return len(got) < limit })
		return got
	}
	all := func([]Side) bool { return true }
	if got := describe(all, 10); len(got) != 2 || got[0].Final || got[0].Total.ToServer.Payload != 300 || got[0].Active != 1 || !got[1].Final || got[1].CloseCause != CloseNormal {
		t.Errorf("described %+v", got)
	}
	if got := describe(all, 1); len(got) != 1 {
		t.Errorf("%d described after it was told to end", len(got))
	}
	mine := func(sides []Side) bool {
		for _, s := range sides {
			if s.Cookie == 7 && s.Addr == k.Src && s.Port == k.SrcPort {
				return true
			}
		}
		return false
	}
	if got := describe(mine, 10); len(got) != 1 || got[0].Client.Cookie != 7 || got[0].Client.Name != "curl" {
		t.Errorf("by cookie %+v", got)
	}
	j.Flow(flow(tcpKey("10.0.0.1", 40002, "10.0.0.2", 80, 1), t0+sec, t0+sec, 80, 60))
	if got := describe(all, 10); len(got) != 2 {
		t.Errorf("packets that wait for a socket are described: %+v", got)
	}
	a, b := tick(j, t0+2*sec, Running), tick(fill(), t0+2*sec, Running)
	if len(a) != 2 || len(b) != 2 {
		t.Fatalf("%d and %d records", len(a), len(b))
	}
	for i := range a {
		if a[i].Delta != b[i].Delta || a[i].Connect != b[i].Connect || a[i].Final != b[i].Final {
			t.Errorf("after a description %+v, without %+v", a[i], b[i])
		}
	}
}
