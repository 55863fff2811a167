package load

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/sink"
)

// happened is about one event in an hour per five edges, half of them of the first edge
// of the second project.
func (h *Host) happened(t time.Time) {
	for range len(h.edges) {
		if h.rng.Float64() >= h.interval.Hours()/5 {
			continue
		}
		e := h.edges[h.rng.IntN(len(h.edges))]
		if h.rng.IntN(2) == 0 {
			e = h.troubled
		}
		event := h.event(e, t)
		h.events.Add(t.Add(-time.Duration(h.rng.Int64N(int64(h.interval)))), &event)
	}
}

// event is one that happened to an edge; every second is an anomaly that begins, or the
// end of one.
func (h *Host) event(e *edge, t time.Time) sink.Event {
	types := []sink.EventType{sink.EventThrottled, sink.EventOOM, sink.EventConnectionFailed, sink.EventStart}
	levels := []sink.Severity{sink.SeverityWarning, sink.SeverityError, sink.SeverityWarning, sink.SeverityInfo}
	kind := h.rng.IntN(2 * len(types))
	if kind < len(types) {
		return sink.Event{
			Type: types[kind], Severity: levels[kind], Client: e.client.Name, Server: e.server.Name,
			Message: "something happened", Evidence: "n=1", Expected: 1, Seen: float64(h.rng.IntN(100)),
			Actors: [2]sink.Actor{sink.ActorOf(e.client), sink.ActorOf(e.server)},
		}
	}
	if n := len(h.goesOn); n > 0 && h.rng.IntN(2) == 0 {
		a := h.goesOn[0]
		h.goesOn = h.goesOn[1:]
		a.State, a.Time = anomaly.Resolved, t.UnixNano()
		return sink.AnomalyEvent(a)
	}
	a := &anomaly.Anomaly{
		Type: anomaly.Types()[h.rng.IntN(len(anomaly.Types()))], Since: t.UnixNano(), Time: t.UnixNano(),
		Client: party(e.client), Server: party(e.server), Port: e.server.Port, Proto: e.proto,
		Expected: 1, Seen: 10, Score: 3 + h.rng.ExpFloat64(), Message: "out of the usual", Evidence: "n=1", Fingerprint: h.rng.Uint64(),
	}
	h.goesOn = append(h.goesOn, a)
	return sink.AnomalyEvent(a)
}

func party(e *correlate.Endpoint) anomaly.Party {
	a := sink.ActorOf(e)
	return anomaly.Party{Kind: e.Kind, Name: e.Name, Container: a.Container, PID: a.PID, Process: a.Process, User: a.User, Cmdline: a.Cmdline}
}

// tell is what the probe says about itself.
func (h *Host) tell(t time.Time) {
	local := uint64(1e6 + h.rng.IntN(1e6))
	has := map[sink.Stage][]sink.SelfField{
		sink.StageKernel: {sink.SelfLostRingFull.Is(0), sink.SelfLostMapFull.Is(0), sink.SelfMapEntries.Is(1000), sink.SelfMapCapacity.Is(65536)},
		sink.StageFlows:  {sink.SelfLostMapFull.Is(0), sink.SelfMapEntries.Is(1000), sink.SelfMapCapacity.Is(65536)},
		sink.StageJoin: {
			sink.SelfConnections.Is(uint64(len(h.edges))), sink.SelfLocalBytes.Is(local), sink.SelfAttributedBytes.Is(local * 999 / 1000),
			sink.SelfMatchedCookie.Is(local / 2000), sink.SelfMatchedTuple.Is(0), sink.SelfMatchedNAT.Is(local / 4000), sink.SelfUnmatched.Is(0), sink.SelfAmbiguous.Is(0),
		},
		sink.StageEnrich:  {sink.SelfProcesses.Is(uint64(len(h.ends))), sink.SelfContainers.Is(uint64(len(h.ends)))},
		sink.StageAnomaly: {sink.SelfAlarms.Is(uint64(len(h.goesOn)))},
		sink.StageJournal: {sink.SelfLostQueueFull.Is(0), sink.SelfSpoolBytes.Is(1 << 20)},
		sink.StageDelivery: {
			sink.SelfQueueRows.Is(uint64(h.rng.IntN(1000))), sink.SelfQueueBytes.Is(100), sink.SelfQueueAge.Is(0.1),
			sink.SelfRejected.Is(0), sink.SelfRejectedOther.Is(0), sink.SelfRetries.Is(0), sink.SelfThrottled.Is(0), sink.SelfDroppedRows.Is(0),
		},
		sink.StageProcess: {sink.SelfRSS.Is(64 << 20)},
	}
	for _, stage := range sink.Stages() {
		if stage != sink.StageSink {
			h.self.Stage(t, stage, append(has[stage], sink.SelfSeen.Is(local/1000), sink.SelfLost.Is(0), sink.SelfCPU.Is(0.01))...)
		}
	}
	h.self.SinkStage(t, h.aggregator.Stats(), h.log.Stats())
	h.self.Info(t, sink.Info{Version: "load", Kernel: "6.18", HooksAttached: 30})
}
