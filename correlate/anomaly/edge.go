package anomaly

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// edgeKey is who talks to whom on which service.
type edgeKey struct {
	client, server uint32 // node ids
	port           uint16
	proto          flows.Proto
}

// sums are of one edge since the last whole minute.
type sums struct {
	out, in           uint64 // payload to the server, to the client
	segments, again   uint64
	opened            uint64
	attempts, failed  uint64
	rtt, rtts         uint64 // ns, samples
	response, answers uint64
	requests, errors  uint64
}

func (s *sums) active() bool { return s.out|s.in|s.attempts|s.requests != 0 }

// kind is what of an edge is judged each minute.
type kind uint8

const (
	isHigh kind = iota
	isLow
	isExfil
	isFailing
	isResending
	isSlow
	isQuiet
	numKinds
)

// edge is what is known of a client, a server and a service.
type edge struct {
	edgeKey
	c, s       *node
	born, last int64
	// told is false for attempts only: nothing ever came through.
	told bool
	// folded stands for all ports past the first maxPorts.
	folded bool
	// known edges were learnt with everything else, or came with a deployment.
	known bool
	// settles is until when it is left alone on its own account.
	settles  int64
	settling bool
	sums     sums
	profile  *profile // nil until it has been busy in some minutes
	minutes  uint8    // that it has been busy in, up to profileAfter
	// For how long too much went out, or nothing came: minutes.
	rising, silent, failing uint8
	alarm                   [numKinds]uint64 // fingerprints of what was told of it last
	beacon                  *beacon
	network                 flows.Addr  // elsewhere, that it led to last
	limits                  *Thresholds // what counts of it, of the configuration
	// score is how unusual the interval was that ended last; touched says that there is
	// a record in the one that goes on.
	score   float64
	touched bool
	// Who used it last.
	process   [2]*correlate.Process
	container [2]string
}

// cameThrough counts e at its ends, or with -1 no more.
func (e *edge) cameThrough(n int) {
	e.c.through += n
	if e.s != e.c {
		e.s.through += n
	}
}

// profileAfter is how many busy minutes make a profile worth its memory.
const profileAfter = 3

// payloadPerSegment is what a segment is taken to carry where packets were not seen.
const payloadPerSegment = 1400

// take adds what a record tells.
func (e *edge) take(r *correlate.Record, t int64) {
	d := &r.Delta
	s := &e.sums
	s.out += d.ToServer.Payload
	s.in += d.ToClient.Payload
	for _, x := range [...]*correlate.Traffic{&d.ToServer, &d.ToClient} {
		if x.WirePackets > 0 {
			s.segments += x.WirePackets
		} else {
			s.segments += (x.Payload + payloadPerSegment - 1) / payloadPerSegment
		}
		s.again += x.Retransmits
	}
	failed := uint64(d.FailedTotal()) + uint64(d.ResetByServer) + uint64(d.TimeoutEstablished)
	s.failed += failed
	s.opened += uint64(d.Opened)
	s.attempts += uint64(d.Opened) + uint64(d.FailedTotal()) + uint64(d.Aborted)
	s.rtt += d.RTT.Sum
	s.rtts += d.RTT.Count
	if q := r.Requests; q != nil {
		s.response += q.Response.Sum()
		s.answers += q.Response.Count()
		s.errors += q.Errors
		for _, m := range q.Messages {
			s.requests += uint64(m.Requests)
		}
	}
	e.last = t
	for i, end := range [...]*correlate.Endpoint{&r.Client, &r.Server} {
		if end.Process != nil {
			e.process[i] = end.Process
		}
		if end.Contain != nil {
			e.container[i] = end.Contain.Name
		}
	}
}

// moves says whether a record shows that something came through: an answer, or
// octets where nobody answers by nature.
func moves(r *correlate.Record) bool {
	d := &r.Delta
	switch {
	case d.ToClient.Payload > 0:
		return d.ToServer.Payload > 0 || r.Proto == flows.TCP
	case d.ToServer.Payload == 0:
		return false
	case r.Proto == flows.TCP:
		return d.FailedTotal() == 0
	}
	return r.Reporter == correlate.ReporterBoth || d.ToServer.Payload > 2000
}

// inVain says whether a record is of an attempt that led to nothing.
func inVain(r *correlate.Record) bool {
	if r.Delta.FailedTotal() > 0 || r.Delta.Aborted > 0 {
		return true
	}
	return r.Final && r.Total.ToClient.Payload == 0 && r.Total.ToServer.Payload <= 2000
}

const (
	// firstEphemeral is where ports begin that name no service by themselves.
	firstEphemeral = 32768
	// maxPorts is how many ports of one server a client's edges may have of their own.
	maxPorts = 64
)

func pairOf(c, s *node) uint64 { return uint64(c.id)<<32 | uint64(s.id) }

// portOf is the port that an edge is known by, 0 where it says nothing.
func portOf(r *correlate.Record) uint16 {
	switch {
	case r.Proto != flows.TCP && r.Proto != flows.UDP && r.Proto != flows.SCTP:
		return 0
	case r.Server.Port >= firstEphemeral: // a listener's, too: the kernel's choice, mostly
		return 0
	}
	return r.Server.Port
}

func protoOf(p flows.Proto) flows.Proto {
	if p == flows.ICMPv6 {
		return flows.ICMP
	}
	return p
}

// values are the metrics of a minute; ok tells which of them were measured.
func (s *sums) values(minutes float64) (v [numMetrics]float64, ok [numMetrics]bool) {
	v[bytesOut], v[bytesIn] = float64(s.out)/minutes, float64(s.in)/minutes
	v[connections], v[failures] = float64(s.opened)/minutes, float64(s.failed+s.errors)/minutes
	ok[bytesOut], ok[bytesIn], ok[connections], ok[failures] = true, true, true, true
	if s.segments >= fewestSegments {
		v[retransmits], ok[retransmits] = float64(s.again)/float64(s.segments)*1e5, true
	}
	if s.rtts > 0 {
		v[rtt], ok[rtt] = float64(s.rtt)/float64(s.rtts)/1e3, true
	}
	if s.answers >= fewestAnswers {
		v[response], ok[response] = float64(s.response)/float64(s.answers)/1e3, true
	}
	return v, ok
}

const (
	fewestSegments = 100
	fewestAnswers  = 3
)
