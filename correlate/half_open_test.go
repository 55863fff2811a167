package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// handshake is a flow of which packets show a SYN, a SYN-ACK, and what else the
// client sent.
func handshake(k flows.Key, start int64, client flows.TCPFlags, reason flows.EndReason) *flows.Record {
	r := flow(k, start, start+sec, 120, 60)
	_, d := k.Canonical()
	r.Dir[d].Flags |= client
	r.EndReason = reason
	return r
}

func incomplete(rs []Record) (n, opened, failed uint32) {
	for i := range rs {
		n += rs[i].Delta.HandshakesIncomplete
		opened += rs[i].Delta.Opened
		failed += rs[i].Delta.FailedTotal()
	}
	return n, opened, failed
}

func listens(j *Joiner) {
	ev := sock(90, tcpKey("10.0.0.9", 80, "0.0.0.0", 0, 7), kprobes.RoleListener, 5, "srv", 90*sec)
	ev.Kind, ev.State, ev.Drops = kprobes.SocketSnapshot, kprobes.TCPListen, 3
	j.Socket(ev)
}

// F14: a handshake that the client does not complete is the listener's, once: whether
// its kernel tells, packets show it, or both in either order.
func TestCaseF14_HalfOpen(t *testing.T) {
	k := tcpKey("10.0.0.2", 4000, "10.0.0.9", 80, 0)
	own := k.Reverse()
	own.NetNS = 7
	given := &kprobes.HalfOpenEvent{Time: 107 * sec, Listener: 90, Cookie: 91, Key: own}
	reset := handshake(k, 100*sec, flows.RST, flows.EndOfFlow)
	silent := handshake(k, 100*sec, 0, flows.EndNone)
	for _, c := range []struct {
		name  string
		steps [][]any // each ends with a tick
		pid   uint32  // of the server; 0 is not known
	}{
		{"told by the listener", [][]any{{given}}, 5},
		{"shown by a reset", [][]any{{reset}}, 0},
		{"shown, then told", [][]any{{reset}, {given}}, 0},
		{"seen, told, over", [][]any{{silent}, {given}, {handshake(k, 100*sec, 0, flows.EndIdle)}}, 5},
		{"seen, over", [][]any{{silent}, {handshake(k, 100*sec, 0, flows.EndIdle)}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newTest()
			listens(j)
			tick(j, 91*sec, Running)
			var all []Record
			for i, step := range c.steps {
				for _, x := range step {
					switch x := x.(type) {
					case *flows.Record:
						r := *x
						j.Flow(&r)
					case *kprobes.HalfOpenEvent:
						j.HalfOpen(x)
					}
				}
				all = append(all, tick(j, int64(112+2*i)*sec, Running)...)
			}
			all = append(all, tick(j, 200*sec, Draining)...)
			if n, opened, failed := incomplete(all); n != 1 || opened != 0 || failed != 0 {
				t.Errorf("%d incomplete, %d opened, %d failed, want 1, 0, 0: %+v", n, opened, failed, all)
			}
			for _, r := range all {
				if r.Delta.HandshakesIncomplete == 0 {
					continue
				}
				if pid := uint32(0); r.Server.Process != nil {
					if pid = r.Server.Process.PID; pid != c.pid || r.Client.Kind != KindUnknown || r.Reporter != ReporterServer || r.Delta.AcceptQueueDrops != 0 {
						t.Errorf("%+v", r)
					}
				} else if c.pid != 0 {
					t.Errorf("nobody's: %+v", r)
				}
			}
			for _, r := range all {
				if r.Final && r.CloseCause != CloseHandshakeIncomplete && r.Server.Process == nil {
					t.Errorf("ended as %v", r.CloseCause)
				}
			}
		})
	}
}

// A client that answers at last, and one that lives here and fails by itself.
func TestCaseF14_NotHalfOpen(t *testing.T) {
	k := tcpKey("10.0.0.2", 4000, "10.0.0.9", 80, 0)
	j := newTest()
	listens(j)
	j.Flow(handshake(k, 100*sec, 0, flows.EndNone))
	all := tick(j, 101*sec, Running)
	j.Flow(handshake(k, 100*sec, flows.ACK|flows.FIN, flows.EndOfFlow))
	all = append(all, tick(j, 103*sec, Running)...)
	if n, opened, failed := incomplete(append(all, tick(j, 200*sec, Draining)...)); n != 0 || opened != 1 || failed != 0 {
		t.Errorf("%d incomplete, %d opened, %d failed, want 0, 1, 0", n, opened, failed)
	}

	j = newTest()
	listens(j)
	ev := sock(20, tcpKey("10.0.0.2", 4001, "10.0.0.9", 80, 3), kprobes.RoleClient, 6, "cli", 100*sec)
	ev.Established, ev.Errno, ev.State = 0, 110, kprobes.TCPSynSent // ETIMEDOUT
	j.Socket(ev)
	j.HalfOpen(&kprobes.HalfOpenEvent{Time: 107 * sec, Listener: 90, Cookie: 21, Key: tcpKey("10.0.0.9", 80, "10.0.0.2", 4001, 7)})
	if n, _, failed := incomplete(append(tick(j, 110*sec, Running), tick(j, 200*sec, Draining)...)); n != 1 || failed != 1 {
		t.Errorf("%d incomplete at the server, %d failed at the client, want 1 and 1", n, failed)
	}
}

// A listener that the probe has not been told of stands for itself, and what it had
// dropped before it was known is nobody's.
func TestHalfOpenOfUnknownListener(t *testing.T) {
	j := newTest()
	j.HalfOpen(&kprobes.HalfOpenEvent{Time: 100 * sec, Listener: 90, Key: tcpKey("10.0.0.9", 80, "10.0.0.2", 4001, 7)})
	r := only(t, tick(j, 101*sec, Running))
	if r.Delta.HandshakesIncomplete != 1 || r.Server.Port != 80 || r.Server.Process != nil || r.Client.Port != 0 {
		t.Errorf("%+v", r)
	}
	listens(j)
	if rs := tick(j, 102*sec, Running); len(rs) != 0 {
		t.Errorf("%+v", rs)
	}
}
