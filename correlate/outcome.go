package correlate

import (
	"math"
	"syscall"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// outcome sets the connection counts of t from what the ends know. Each count is
// 0 or 1 for a connection's whole life, so attempts = opened + failed + aborted
// holds over any interval.
func (c *conn) outcome(t *Measures) {
	if c.key.Proto != flows.TCP || !c.hasEnd() {
		c.outcomeOfPackets(t)
		return
	}
	cause := c.closeCause()
	established := c.established() != 0
	baseline := c.baseline()
	switch {
	case established && !baseline:
		t.Opened = 1
	case established, baseline:
		// opened before the probe started: not an attempt of any interval of ours
	case cause == CloseRefused:
		t.Failed[FailRefused] = 1
	case cause == CloseConnectTimeout:
		t.Failed[FailTimeout] = 1
	case cause == CloseUnreachable:
		t.Failed[FailUnreachable] = 1
	case cause == CloseLocal:
		t.Failed[FailLocal] = 1
	case cause == CloseAborted, cause == CloseHandshakeIncomplete:
		t.Aborted = 1
	}
	if e := c.ends[client]; e != nil && !baseline {
		t.SYNRetransmits = e.synsAgain
	}
	if !established && !baseline {
		return
	}
	if c.closed() {
		t.Closed = 1
	}
	switch cause {
	case CloseResetByClient:
		t.ResetByClient = 1
		c.countReset(t, client, cause)
	case CloseResetByServer:
		t.ResetByServer = 1
		c.countReset(t, server, cause)
	case CloseTimeout:
		t.TimeoutEstablished = 1
	}
}

// noteSYNs takes how many SYNs a connecting socket has sent again. Until the
// handshake is complete nothing else can be: the kernel's count is exact. After it
// that count has data in it, too; but a SYN waits a second for its answer, so that
// what was sent again in the handshake is no more than its whole seconds.
func (e *end) noteSYNs(ev *kprobes.SocketEvent) {
	switch {
	case ev.Role != kprobes.RoleClient:
	case ev.Established == 0:
		e.synsAgain = max(e.synsAgain, ev.Retransmits)
	default:
		n := uint32(0)
		if ev.SYN != 0 && ev.Established > ev.SYN {
			n = min(ev.Retransmits, uint32(min((ev.Established-ev.SYN)/int64(synTimeout), math.MaxUint32)))
		}
		if e.established != 0 {
			n = min(n, e.synsAgain) // the count of the earlier event had less data in it
		}
		e.synsAgain = n
	}
}

// synTimeout is the kernel's first retransmission timeout (TCP_TIMEOUT_INIT,
// RFC 6298); the following ones are not shorter.
const synTimeout = time.Second

// refused says whether nobody was at the other end of a datagram flow: a port
// unreachable came back and no datagram did. What it once was told to be it stays:
// a flow that was opened in an earlier interval is no failed attempt in a later one.
func (c *conn) refused() bool {
	e := c.ends[client]
	if e == nil || !e.refused || c.ends[server] != nil {
		return false
	}
	return c.reported.Failed[FailRefused] > 0 || e.rcvd == 0 && c.reported.Opened == 0
}

// undecided says whether a datagram flow has only asked so far, and just now: what comes
// back may be that nobody is there, and what it was told to be it stays.
func (c *conn) undecided(now int64) bool {
	e := c.ends[client]
	return c.key.Proto != flows.TCP && e != nil && c.ends[server] == nil && !e.closed && !e.refused &&
		e.rcvd == 0 && c.reported.Opened == 0 && now-c.start < undecided
}

// outcomeOfPackets counts datagram flows, and TCP of which only packets were
// seen: a handshake's flags tell whether it was opened.
func (c *conn) outcomeOfPackets(t *Measures) {
	if c.key.Proto != flows.TCP {
		if c.refused() {
			t.Failed[FailRefused] = 1
			return
		}
		t.Opened = 1
		if c.ended() {
			t.Closed = 1
		}
		return
	}
	switch {
	case c.flags&flows.SYNOnly == 0:
		// begun before we looked
	case c.unanswered():
		if c.incomplete() && !c.halfOpen {
			t.HandshakesIncomplete = 1
		}
	case c.flags&flows.SYNACK != 0:
		t.Opened = 1
		if c.flowEnded {
			t.Closed = 1
		}
	case c.flags&flows.RST != 0:
		t.Failed[FailRefused] = 1
	case c.flowEnded:
		t.Failed[FailTimeout] = 1
	}
}

// unanswered says whether packets show a SYN-ACK that the client has not answered by
// an ACK: its kernel knows of no connection, or what was sent to it was lost.
func (c *conn) unanswered() bool {
	return !c.toSelf() && c.flags&flows.SYNOnly != 0 && c.flags&flows.SYNACK != 0 && c.sentBy(client)&flows.ACK == 0
}

// incomplete says whether such a handshake is over.
func (c *conn) incomplete() bool {
	return c.flowEnded || c.halfOpen || c.flags&flows.RST != 0
}

// ended says whether nothing more is expected of the connection.
func (c *conn) ended() bool {
	if c.hasEnd() {
		return c.closed()
	}
	return c.flowEnded
}

func (c *conn) established() int64 {
	if e := c.ends[client]; e != nil && e.established != 0 {
		return e.established
	}
	if e := c.ends[server]; e != nil {
		return e.established
	}
	return 0
}

// baseline says whether the connection existed before the probe.
func (c *conn) baseline() bool {
	for _, e := range c.ends {
		if e != nil && e.baseline {
			return true
		}
	}
	return false
}

// closeCause decides how the connection ended. The end that saw an error knows
// best; without one, the end that skipped the FIN exchange reset it.
func (c *conn) closeCause() CloseCause {
	if c.key.Proto != flows.TCP || !c.hasEnd() {
		return c.packetCloseCause()
	}
	if c.established() == 0 && !c.baseline() {
		return c.attemptCause()
	}
	for s, e := range c.ends {
		if e == nil || !e.closed {
			continue
		}
		switch syscall.Errno(e.errno) {
		case 0:
		case syscall.ETIMEDOUT:
			return CloseTimeout
		default:
			return resetBy(side(s).other())
		}
	}
	for s, e := range c.ends {
		if e == nil || !e.closed {
			continue
		}
		// Straight from a state with no FIN sent: close with unread data,
		// SO_LINGER 0, abort. The kernel sent a RST.
		if e.state == kprobes.TCPEstablished || e.state == kprobes.TCPCloseWait || e.state == kprobes.TCPSynRecv {
			return resetBy(side(s))
		}
	}
	if !c.closed() {
		return CloseNone
	}
	return CloseNormal
}

func resetBy(s side) CloseCause {
	if s == client {
		return CloseResetByClient
	}
	return CloseResetByServer
}

// attemptCause classifies an attempt that never became a connection, by the
// error of the connecting socket (cases F2–F6), or the acceptor's if that is all
// there is (F14).
func (c *conn) attemptCause() CloseCause {
	e := c.ends[client]
	if e == nil {
		if e = c.ends[server]; e.closed {
			return CloseHandshakeIncomplete
		}
		return CloseNone
	}
	if !e.closed {
		return CloseNone
	}
	if e.noSYN {
		return CloseLocal
	}
	switch syscall.Errno(e.errno) {
	case 0:
		return CloseAborted
	case syscall.ECONNREFUSED, syscall.ECONNRESET:
		return CloseRefused
	case syscall.ETIMEDOUT:
		return CloseConnectTimeout
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ENONET, syscall.ENOPROTOOPT,
		// what this host refuses itself fails before there is a SYN: these are a
		// router's words, too (ICMPv6 prohibited, source route failed, parameter problem)
		syscall.EACCES, syscall.EOPNOTSUPP, syscall.EPROTO:
		return CloseUnreachable
	case syscall.ECONNABORTED:
		return CloseAborted
	}
	return CloseLocal
}

// packetCloseCause is what packets alone tell.
func (c *conn) packetCloseCause() CloseCause {
	switch {
	case !c.ended():
		return CloseNone
	case c.key.Proto != flows.TCP && c.refused():
		return CloseRefused
	case c.key.Proto == flows.TCP && c.unanswered():
		return CloseHandshakeIncomplete
	case c.key.Proto != flows.TCP || c.reason == flows.EndIdle:
		return CloseIdle
	case c.flags&flows.SYNOnly != 0 && c.flags&flows.SYNACK == 0 && c.flags&flows.RST != 0:
		return CloseRefused
	case c.flags&flows.RST == 0:
		return CloseNormal
	}
	for i := range c.slots {
		s := &c.slots[i]
		if d := c.toServer(s); s.total[d].Flags&flows.RST != 0 {
			return CloseResetByClient
		}
	}
	return CloseResetByServer
}
