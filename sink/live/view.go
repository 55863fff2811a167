package live

import (
	"cmp"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weir-probe/weir/sink"
)

// MaxEdges is how many edges a Snapshot lists: those with the most traffic.
// Totals are of all.
const MaxEdges = 2000

// Edge is what one edge did in the interval. Names in JSON are those of the
// schema; numbers are of the interval, rates per second.
type Edge struct {
	Client          string `json:"client"`
	ClientKind      string `json:"client_kind"`
	ClientProcess   string `json:"client_process,omitempty"`
	ClientContainer string `json:"client_container,omitempty"`
	Server          string `json:"server"`
	ServerKind      string `json:"server_kind"`
	ServerProcess   string `json:"server_process,omitempty"`
	ServerContainer string `json:"server_container,omitempty"`
	ServerPort      string `json:"server_port"`
	Proto           string `json:"proto"`
	Reporter        string `json:"reporter"`
	Attribution     string `json:"attribution"`
	Numbers
	RTTAvg     float64 `json:"rtt_avg_seconds,omitempty"`
	RTTMax     float64 `json:"rtt_max_seconds,omitempty"`
	ConnectP50 float64 `json:"connect_p50_seconds,omitempty"`
	ConnectP99 float64 `json:"connect_p99_seconds,omitempty"`
}

// Numbers is what adds up over edges.
type Numbers struct {
	ToServerBytes       uint64 `json:"to_server_bytes"`
	ToClientBytes       uint64 `json:"to_client_bytes"`
	ToServerWireBytes   uint64 `json:"to_server_wire_bytes"`
	ToClientWireBytes   uint64 `json:"to_client_wire_bytes"`
	ToServerPackets     uint64 `json:"to_server_packets"`
	ToClientPackets     uint64 `json:"to_client_packets"`
	Opened              uint64 `json:"opened"`
	Closed              uint64 `json:"closed"`
	Failed              uint64 `json:"failed"`
	Aborted             uint64 `json:"aborted"`
	Active              uint64 `json:"active"`
	RetransmitsToServer uint64 `json:"retransmits_to_server"`
	RetransmitsToClient uint64 `json:"retransmits_to_client"`
	// OutRate and InRate are octets per second as the client sees them: payload,
	// and on the wire where no payload was measured.
	OutRate  float64 `json:"out_rate"`
	InRate   float64 `json:"in_rate"`
	ConnRate float64 `json:"conn_rate"` // attempts per second
}

func (n *Numbers) add(o *Numbers) {
	n.ToServerBytes += o.ToServerBytes
	n.ToClientBytes += o.ToClientBytes
	n.ToServerWireBytes += o.ToServerWireBytes
	n.ToClientWireBytes += o.ToClientWireBytes
	n.ToServerPackets += o.ToServerPackets
	n.ToClientPackets += o.ToClientPackets
	n.Opened += o.Opened
	n.Closed += o.Closed
	n.Failed += o.Failed
	n.Aborted += o.Aborted
	n.Active += o.Active
	n.RetransmitsToServer += o.RetransmitsToServer
	n.RetransmitsToClient += o.RetransmitsToClient
	n.OutRate += o.OutRate
	n.InRate += o.InRate
	n.ConnRate += o.ConnRate
}

// Health says how far the numbers can be trusted.
type Health struct {
	Lost         uint64  `json:"lost"`         // in this interval, all stages
	Unattributed float64 `json:"unattributed"` // share of the payload with a local socket whose owner is not known, 0…1
	QueueRows    uint64  `json:"queue_rows"`   // waiting for delivery
	Sink         string  `json:"sink"`         // one word: ok, behind, failing, none
}

// Snapshot is one interval. It is immutable.
type Snapshot struct {
	Host     string    `json:"host"`
	Time     time.Time `json:"time"` // the interval's end; zero before the first
	Interval float64   `json:"interval_seconds"`
	Edges    []Edge    `json:"edges"`       // by traffic, most first
	Count    int       `json:"edges_total"` // how many there were, listed or not
	Totals   Numbers   `json:"totals"`
	Health   Health    `json:"health"`
}

// View is where the Snapshot of the last interval stands. Publish belongs to
// one goroutine, Snapshot to all.
type View struct {
	host    string
	current atomic.Pointer[Snapshot]
	scratch []Edge
}

// New returns a View with an empty Snapshot.
func New(host string) *View {
	v := &View{host: host}
	v.current.Store(&Snapshot{Host: host, Edges: []Edge{}})
	return v
}

// Snapshot returns the last interval, never nil. Not to be changed.
func (v *View) Snapshot() *Snapshot { return v.current.Load() }

// Publish makes a Snapshot of the interval of that length that ended at t; call
// it after Aggregator.Flush with Aggregator.Edges().
func (v *View) Publish(t time.Time, interval time.Duration, edges iter.Seq[*sink.Edge], h Health) {
	s := &Snapshot{Host: v.host, Time: t, Interval: interval.Seconds(), Health: h}
	v.scratch = v.scratch[:0]
	for e := range edges {
		v.scratch = append(v.scratch, edgeOf(e, interval.Seconds()))
		s.Totals.add(&v.scratch[len(v.scratch)-1].Numbers)
	}
	s.Count = len(v.scratch)
	slices.SortFunc(v.scratch, byTraffic)
	s.Edges = append([]Edge{}, v.scratch[:min(len(v.scratch), MaxEdges)]...)
	clear(v.scratch) // holds no strings of edges that are gone
	v.current.Store(s)
}

// byTraffic orders by traffic, then by names, so that equal rates do not change
// places from one interval to the next.
func byTraffic(a, b Edge) int {
	return cmp.Or(
		cmp.Compare(b.OutRate+b.InRate, a.OutRate+a.InRate),
		cmp.Compare(b.ConnRate, a.ConnRate),
		cmp.Compare(a.Client, b.Client), cmp.Compare(a.Server, b.Server), cmp.Compare(a.ServerPort, b.ServerPort),
		cmp.Compare(a.ClientProcess, b.ClientProcess), cmp.Compare(a.ServerProcess, b.ServerProcess),
		cmp.Compare(a.Proto, b.Proto))
}

func edgeOf(e *sink.Edge, seconds float64) Edge {
	out := Edge{
		Client: e.Client.Name, ClientKind: e.Client.Kind, ClientProcess: e.Client.Process, ClientContainer: e.Client.Container,
		Server: e.Server.Name, ServerKind: e.Server.Kind, ServerProcess: e.Server.Process, ServerContainer: e.Server.Container,
		ServerPort: e.ServerPort, Proto: e.Proto, Reporter: e.Reporter, Attribution: e.Attribution,
		RTTAvg: e.RTTAvg, RTTMax: e.RTTMax,
		Numbers: Numbers{
			ToServerBytes: e.ToServerBytes, ToClientBytes: e.ToClientBytes,
			ToServerWireBytes: e.ToServerWireBytes, ToClientWireBytes: e.ToClientWireBytes,
			ToServerPackets: e.ToServerPackets, ToClientPackets: e.ToClientPackets,
			Opened: e.Opened, Closed: e.Closed, Failed: e.Failed, Aborted: e.Aborted, Active: e.Active,
			RetransmitsToServer: e.RetransmitsToServer, RetransmitsToClient: e.RetransmitsToClient,
		},
	}
	if e.Connect != nil {
		out.ConnectP50, out.ConnectP99 = e.Connect.Quantile(0.5)/1e9, e.Connect.Quantile(0.99)/1e9
	}
	if seconds > 0 {
		to, from := e.ToServerBytes, e.ToClientBytes
		if !e.HasPayload {
			to, from = e.ToServerWireBytes, e.ToClientWireBytes
		}
		out.OutRate, out.InRate = float64(to)/seconds, float64(from)/seconds
		out.ConnRate = float64(e.Opened+e.Failed+e.Aborted) / seconds
	}
	return out
}
