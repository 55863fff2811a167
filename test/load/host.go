package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// Host is a host of Compose projects. Each has five services of one container:
// web, api, worker, db and cache. The same seed makes the same rows.
type Host struct {
	edges      []*edge
	ends       []*correlate.Endpoint // of containers
	aggregator *sink.Aggregator
	containers *sink.Usage
	processes  *sink.Usage
	log        *sink.FlowLog
	drops      *sink.Drops
	events     *sink.Events
	self       *sink.Self
	pool       *dist.Pool
	rng        *rand.Rand
	interval   time.Duration
	sent       uint64
	goesOn     []*anomaly.Anomaly
	troubled   *edge // much happens to it
}

// Truth is what the rows have to add up to.
type Truth struct {
	ToServer uint64 // payload
	Rows     uint64
	Edges    int
	Until    time.Time // of the last rows
}

// active is the share of edges with traffic in an interval.
const active = 0.5

// dropping is the share of containers that lose packets in an interval.
const dropping = 0.05

// NewHost returns a host with about that many containers, of two projects at least.
func NewHost(containers int, interval time.Duration) *Host {
	cfg := sink.DefaultConfig()
	cfg.Host, cfg.FlowLogRate = "load1", -1
	h := &Host{
		aggregator: sink.NewAggregator(cfg), containers: sink.NewContainers(cfg), processes: sink.NewProcesses(cfg),
		log: sink.NewFlowLog(cfg), events: sink.NewEvents(cfg), drops: sink.NewDrops(cfg), self: sink.NewSelf(cfg),
		pool: dist.NewPool(1 << 12), rng: rand.New(rand.NewPCG(1, 2)), interval: interval,
	}
	for p := range max(2, containers/len(services)) {
		h.project(p)
	}
	h.troubled = h.edges[slices.IndexFunc(h.edges, func(e *edge) bool { return e.client.Name == name(1)+"/web" })]
	return h
}

// Truth is what there was so far.
func (h *Host) Truth() Truth {
	rows := h.aggregator.Stats().Rows + h.containers.Stats().Encoder.Rows + h.processes.Stats().Encoder.Rows + h.log.Stats().Rows + h.events.Stats().Rows
	return Truth{ToServer: h.sent, Rows: rows, Edges: len(h.edges)}
}

// Interval writes the rows of the interval that ends at t; those of flow_log only
// where the database would still have them.
func (h *Host) Interval(t time.Time, withLog bool, write func(*sink.Batch) error) error {
	for _, e := range h.edges {
		if h.rng.Float64() >= active {
			continue
		}
		r := h.record(e, t)
		h.aggregator.Add(r)
		h.sent += r.Delta.ToServer.Payload
		if withLog {
			h.log.Add(r, t)
		}
		h.giveBack(r)
	}
	for _, e := range h.ends {
		h.containers.Add(e, h.reading(containerValues))
		h.processes.Add(e, h.reading(processValues))
		if h.rng.Float64() < dropping {
			h.drops.Add(e, kprobes.DropReceiveBuffer.String(), "socket_rcvbuff", uint64(1+h.rng.IntN(100)), 1000)
		}
	}
	h.happened(t)
	h.tell(t)
	for _, batches := range [][]*sink.Batch{h.aggregator.Flush(t), h.containers.Flush(t), h.processes.Flush(t), h.log.Flush(t), h.events.Flush(), h.drops.Flush(t), h.self.Flush()} {
		for _, b := range batches {
			if err := write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	containerValues = []usage.Value{usage.CPUUser, usage.CPUSystem, usage.Periods, usage.ThrottledPeriods, usage.Throttled, usage.Quota, usage.Memory, usage.WorkingSet,
		usage.MemoryLimit, usage.OOMKills, usage.ReadOctets, usage.WriteOctets, usage.Reads, usage.Writes, usage.PIDs, usage.CPUSome, usage.CPUFull,
		usage.MemorySome, usage.MemoryFull, usage.IOSome, usage.IOFull, usage.Sockets, usage.Listeners, usage.Waiting, usage.Backlog}
	processValues = []usage.Value{usage.CPUUser, usage.CPUSystem, usage.ReadOctets, usage.WriteOctets, usage.Resident, usage.Threads, usage.OpenFiles,
		usage.Sockets, usage.Listeners, usage.Waiting, usage.Backlog}
)

func (h *Host) reading(values []usage.Value) *usage.Reading {
	r := new(usage.Reading)
	for _, v := range values {
		r.Set(v, uint64(1+h.rng.IntN(1e8)))
	}
	return r
}

// ask is what a service is asked, in what protocol.
type ask struct {
	port       uint16
	protocol   l7.Protocol
	operations []string
	ok, failed string
}

func name(project int) string { return fmt.Sprintf("shop%02d", project) }
