package sink

import (
	"iter"

	"github.com/weir-probe/weir/correlate/dist"
)

// EdgeEnd is one end of an Edge, as its tags say it.
type EdgeEnd struct {
	Name, Kind, Process, Container string
}

// Edge is what one edge did in the interval that Flush ended: what its row in
// flow says, for readers inside the process.
type Edge struct {
	Client, Server                           EdgeEnd
	Reporter, Proto, ServerPort, Attribution string
	HasPayload, HasWire                      bool
	ToServerBytes, ToClientBytes             uint64 // payload
	ToServerWireBytes, ToClientWireBytes     uint64
	ToServerPackets, ToClientPackets         uint64
	RetransmitsToServer, RetransmitsToClient uint64
	Opened, Closed, Failed, Aborted, Active  uint64
	ResetByClient, ResetByServer             uint64
	RTTAvg, RTTMin, RTTMax                   float64         // seconds, 0 not measured
	Connect                                  *dist.Histogram // nil when nothing was timed; not to be kept
}

// Edges returns the edges of the interval that the last Flush ended. The Edge
// is reused for the next one, its strings may be kept. Valid between a Flush
// and the next Add.
func (a *Aggregator) Edges() iter.Seq[*Edge] {
	return func(yield func(*Edge) bool) {
		if !a.flushed {
			return
		}
		var v Edge
		for _, e := range a.used {
			if e.sum.idle() {
				continue
			}
			a.describe(&v, e)
			if !yield(&v) {
				return
			}
		}
	}
}

func (a *Aggregator) describe(v *Edge, e *edge) {
	s := &e.sum
	*v = Edge{
		Client: a.describeEnd(&e.key.end[ClientEnd]), Server: a.describeEnd(&e.key.end[ServerEnd]),
		Reporter: e.key.reporter.String(), Proto: protoName(&e.key),
		ServerPort: portName(e.key.port), Attribution: e.key.attribution.String(),
		HasPayload: s.hasPayload, HasWire: s.hasWire,
		ToServerBytes: s.toServer.Payload, ToClientBytes: s.toClient.Payload,
		ToServerWireBytes: s.toServer.WireOctets, ToClientWireBytes: s.toClient.WireOctets,
		ToServerPackets: s.toServer.WirePackets, ToClientPackets: s.toClient.WirePackets,
		RetransmitsToServer: s.toServer.Retransmits, RetransmitsToClient: s.toClient.Retransmits,
		Opened: s.opened, Closed: s.closed, Failed: s.failedTotal(), Aborted: s.aborted, Active: s.active,
		ResetByClient: s.resetByClient, ResetByServer: s.resetByServer,
		Connect: s.opening[1],
	}
	if s.rttCount > 0 {
		v.RTTAvg = float64(s.rttSum) / float64(s.rttCount) / 1e9
		v.RTTMin, v.RTTMax = seconds(s.rttMin), seconds(s.rttMax)
	}
}

func (a *Aggregator) describeEnd(k *endKey) EdgeEnd {
	n := a.names.names
	return EdgeEnd{Name: n[k.name], Kind: k.kind.String(), Process: n[k.process], Container: n[k.container]}
}
