package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// A2: packets that TIME_WAIT answers, long after the connection was told and
// forgotten, are its owners'; a SYN on the same tuple is not, nor what comes when
// TIME_WAIT is over.
func TestCaseA2_TimeWait(t *testing.T) {
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	aftermath := func(at int64) *flows.Record {
		f := flow(k, at, at+1, 80, 80)
		for d := range f.Dir {
			f.Dir[d].Flags = flows.ACK | flows.FIN
		}
		f.Initiator = flows.InitiatorUnknown
		return f
	}
	forgotten := func() *Joiner {
		j := New(Config{}, &plainEnricher{})
		j.Socket(sock(7, k, kprobes.RoleClient, 70, "curl", 10*sec))
		j.Flow(flow(k, 10*sec, 10*sec+sec/2, 700, 900))
		if got := tick(j, 12*sec, Running); len(got) != 1 || !got[0].Final {
			t.Fatalf("%+v", got)
		}
		tick(j, 20*sec, Running)
		if n := j.Stats().Connections; n != 0 {
			t.Fatalf("%d connections", n)
		}
		return j
	}
	t.Run("late", func(t *testing.T) {
		j := forgotten()
		for at := 30 * sec; at <= 60*sec; at += 10 * sec {
			j.Flow(aftermath(at))
			got := tick(j, at+sec, Running)
			if len(got) != 1 || got[0].Final || got[0].Client.Process == nil || got[0].Client.Process.PID != 70 || got[0].Attribution != AttributionExact ||
				got[0].Delta.ToServer.WireOctets != 80 || got[0].Active != 0 || got[0].Delta.Opened+got[0].Delta.Closed != 0 || !got[0].Server.Listened {
				t.Fatalf("at %d: %+v", at/sec, got)
			}
			tick(j, at+9*sec, Running)
		}
		if s := j.Stats(); s.Unmatched != 0 || s.Late == 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("begins another", func(t *testing.T) {
		j := forgotten()
		j.Flow(flow(k, 30*sec, 31*sec, 100, 100))
		if got := tick(j, 34*sec, Running); len(got) != 1 || got[0].Client.Process != nil {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("too late", func(t *testing.T) {
		j := forgotten()
		j.Flow(aftermath(90 * sec))
		if got := tick(j, 93*sec, Running); len(got) != 1 || got[0].Client.Process != nil {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		var g ghosts
		var evicted uint64
		c := &conn{key: k, done: true, ends: [2]*end{{}, nil}}
		for i := range 5 * maxGhosts {
			k.SrcPort, k.DstPort = uint16(i), uint16(i>>16)
			c.refs = []flows.Key{bare(k)}
			evicted += g.remember(c, 0)
		}
		if n := len(g.young) + len(g.old); n > 2*maxGhosts || n < maxGhosts {
			t.Errorf("%d ghosts", n)
		}
		if evicted != 3*maxGhosts {
			t.Errorf("%d were evicted and counted, want %d", evicted, 3*maxGhosts)
		}
		if n := g.remember(c, 10*ghostLife); n != 0 {
			t.Errorf("%d that had lived for long enough are counted as evicted", n)
		}
		if _, ok := g.find(bare(k), 10*ghostLife+1); !ok {
			t.Error("the last one is gone")
		}
	})
}

// forgetful knows a process for a second only, as a process table does after its
// grace time.
type forgetful struct{ plainEnricher }

func (f *forgetful) Enrich(e *Endpoint, owner, creator *kprobes.Owner, now int64) bool {
	if now > 12*sec {
		owner = nil
	}
	return f.plainEnricher.Enrich(e, owner, creator, now)
}

// The owner's process ended long before its socket did: the kernel still had data
// to send. The connection keeps the name.
func TestCaseA2_OwnerLongGone(t *testing.T) {
	j := New(Config{}, &forgetful{})
	ev := sock(7, tcpKey("10.0.0.1", 40000, "203.0.113.1", 80, 1), kprobes.RoleClient, 70, "curl", 10*sec)
	open := *ev
	open.Kind, open.State = kprobes.SocketSnapshot, kprobes.TCPFinWait1
	j.Socket(&open)
	if got := tick(j, 11*sec, Running); len(got) != 1 || got[0].Client.Process == nil {
		t.Fatalf("%+v", got)
	}
	ev.Time, ev.Sent = 300*sec, 5000
	j.Socket(ev)
	got := tick(j, 302*sec, Running)
	if len(got) != 1 || !got[0].Final || got[0].Client.Process == nil || got[0].Client.Process.PID != 70 || got[0].Total.ToServer.Payload != 5000 {
		t.Fatalf("%+v", got)
	}
}
