package load

import (
	"fmt"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
)

// edge is one client, one server, and what is asked.
type edge struct {
	client, server *correlate.Endpoint
	reporter       correlate.Reporter
	proto          flows.Proto
	ask            ask
}

var (
	asksHTTP = ask{80, l7.HTTP, []string{"GET /", "GET /cart/{id}", "POST /cart/{id}/items"}, "200", "500"}
	asksGRPC = ask{9000, l7.GRPC, []string{"/shop.Cart/Get", "/shop.Cart/Add"}, "OK", "UNAVAILABLE"}
	asksSQL  = ask{5432, l7.PostgreSQL, []string{"SELECT", "INSERT", "UPDATE"}, "ok", "23505"}
	asksKeys = ask{6379, l7.Redis, []string{"GET", "SET"}, "ok", "ERR"}
	asksTLS  = ask{443, l7.TLS, []string{"handshake"}, "ok", "alert"}
	asksDNS  = ask{53, l7.DNS, []string{"A", "AAAA"}, "NOERROR", "NXDOMAIN"}
)

// services of each project, with their executables.
var services = []struct{ name, process string }{
	{"web", "nginx"}, {"api", "node"}, {"worker", "python3"}, {"db", "postgres"}, {"cache", "redis-server"},
}

// project adds the containers and edges of one Compose project: 8 inside it, two from
// outside, and for every container DNS, something outside, (of the first two) another
// project, and (of the database) another host of the fleet.
func (h *Host) project(n int) {
	ends := map[string]*correlate.Endpoint{}
	for i, s := range services {
		e := h.container(n, i, s.name, s.process)
		ends[s.name] = e
		h.ends = append(h.ends, e)
	}
	for _, x := range []struct {
		client, server string
		ask            ask
	}{
		{"web", "api", asksHTTP}, {"web", "cache", asksKeys}, {"api", "db", asksSQL}, {"api", "cache", asksKeys},
		{"api", "worker", asksGRPC}, {"worker", "db", asksSQL}, {"worker", "cache", asksKeys}, {"worker", "api", asksHTTP},
	} {
		h.edge(ends[x.client], ends[x.server], correlate.ReporterBoth, x.ask)
	}
	h.edge(external(n, "office"), ends["web"], correlate.ReporterServer, asksHTTP)
	partner := external(n, "partner")
	partner.Zone = "" // not known
	h.edge(partner, ends["api"], correlate.ReporterServer, asksHTTP)
	for i, s := range services {
		h.edge(ends[s.name], external(i, "resolver"), correlate.ReporterClient, asksDNS)
		h.edge(ends[s.name], external(10+n*len(services)+i, fmt.Sprintf("api%d.example.com", n*len(services)+i)), correlate.ReporterClient, asksTLS)
	}
	h.edge(ends["db"], remote(n), correlate.ReporterClient, asksHTTP)
	if other := n - 1; other >= 0 {
		h.edge(ends["web"], h.ends[other*len(services)+1], correlate.ReporterBoth, asksHTTP)
		h.edge(ends["api"], h.ends[other*len(services)+1], correlate.ReporterBoth, asksGRPC)
	}
}

func (h *Host) edge(client, server *correlate.Endpoint, by correlate.Reporter, a ask) {
	proto := flows.TCP
	if a.protocol == l7.DNS {
		proto = flows.UDP
	}
	s := *server
	s.Port, s.Listened = a.port, true
	h.edges = append(h.edges, &edge{client, &s, by, proto, a})
}

func (h *Host) container(project, i int, service, process string) *correlate.Endpoint {
	return &correlate.Endpoint{
		Addr: address(172, 18, byte(project), byte(2+i)), Port: 40000, Local: true, Kind: correlate.KindContainer, Name: name(project) + "/" + service,
		Process: &correlate.Process{PID: uint32(1000 + 10*project + i), Start: 1, Name: process, Cmdline: process + " --serve", User: "app", PPID: 1},
		Contain: &correlate.Container{ID: fmt.Sprintf("%064x", 1000*project+i+1), Name: name(project) + "-" + service + "-1", Image: service + ":1", Project: name(project), Service: service},
		Zone:    zone(0),
		NetNS:   uint32(4026532000 + project), Cookie: uint64(1000*project + i + 1),
		Match: correlate.Match{Method: correlate.MethodCookie, Confidence: correlate.AttributionExact},
	}
}

func external(n int, called string) *correlate.Endpoint {
	return &correlate.Endpoint{Addr: address(203, 0, byte(n>>8), byte(n)), Port: 50000, Kind: correlate.KindExternal, Name: called, DNSName: called, Zone: zone(n),
		Geo: correlate.Geo{ASN: uint32(64500 + n%20), Org: fmt.Sprintf("Example %d", n%20), Country: []string{"DE", "FR", "US"}[n%3]}}
}

// zone is one of three; containers are in the first.
func zone(n int) string { return string(rune('a' + n%3)) }

// remote is a server on another host that runs a probe.
func remote(n int) *correlate.Endpoint {
	return &correlate.Endpoint{Addr: address(10, 1, 0, byte(n)), Port: 80, Kind: correlate.KindRemote, Name: fmt.Sprintf("backup%d.example.com", n%4), Node: "load2", Zone: zone(n)}
}

func address(a, b, c, d byte) flows.Addr {
	return flows.Addr{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}

// record is what one edge did in the interval that ends at t: one connection that
// ended (one in a hundred goes on), with requests; one in fifty failed, and one in a
// hundred is unusual.
func (h *Host) record(e *edge, t time.Time) *correlate.Record {
	end := t.UnixNano() - int64(h.rng.Int64N(int64(h.interval)))
	r := &correlate.Record{
		Proto: e.proto, Start: end - int64(time.Second), End: end, Client: *e.client, Server: *e.server, Reporter: e.reporter,
		Attribution: correlate.AttributionExact, HasWire: true, Initiator: correlate.InitiatorSYN, Final: true, EndReason: flows.EndOfFlow,
	}
	if h.rng.IntN(100) == 0 {
		score := 3 + h.rng.ExpFloat64()
		r.Score = &score
	}
	if h.rng.IntN(50) == 0 {
		r.Delta.Failed[h.rng.IntN(len(r.Delta.Failed))] = 1
		r.Delta.ToServer = correlate.Traffic{WireOctets: 74, WirePackets: 1}
		r.Total, r.CloseCause = r.Delta, correlate.CloseRefused
		return r
	}
	up, down := uint64(200+h.rng.IntN(5000)), uint64(1000+h.rng.IntN(100000))
	r.Delta = correlate.Measures{
		ToServer: correlate.Traffic{Payload: up, WireOctets: up * 21 / 20, WirePackets: 1 + up/1448},
		ToClient: correlate.Traffic{Payload: down, WireOctets: down * 21 / 20, WirePackets: 1 + down/1448, Retransmits: uint64(h.rng.IntN(3))},
		Opened:   1, Closed: 1, RTT: correlate.RTT{Sum: 300e3, Count: 2, Min: 100e3, Max: 200e3, Jitter: 80e3},
	}
	if h.rng.IntN(20) == 0 {
		r.Delta.ResetByServer, r.Delta.ResetByClient, r.Delta.OutOfOrder, r.Delta.AcceptQueueDrops, r.Delta.Duplicates = 1, 1, 2, 1, 1
	}
	r.Total, r.HasPayload, r.CloseCause = r.Delta, true, correlate.CloseNormal
	if h.rng.IntN(100) == 0 { // just as old that flow_log tells it
		r.Final, r.EndReason, r.CloseCause, r.Delta.Closed, r.Start = false, flows.EndActive, 0, 0, t.UnixNano()-int64(5*time.Minute)
	}
	r.Connect, r.Accept, r.MinRTT = h.around(time.Millisecond), h.around(100*time.Microsecond), 90e3
	r.ConnectTotal, r.AcceptTotal = r.Connect, r.Accept
	if e.proto == flows.TCP && !e.client.Local {
		r.SynAck = h.around(50 * time.Millisecond)
		r.SynAckTotal = r.SynAck
	}
	if e.ask.protocol == l7.TLS {
		r.Resolve = h.around(5 * time.Millisecond)
		r.ResolveTotal = r.Resolve
	}
	r.Requests = h.requests(e, t)
	return r
}

// requests are some of each operation, one in thirty of which fails.
func (h *Host) requests(e *edge, t time.Time) *correlate.Requests {
	q := &correlate.Requests{Response: new(dist.Small), Request: new(dist.Small), Sent: new(dist.Small)}
	for _, operation := range e.ask.operations {
		n := 1 + h.rng.IntN(20)
		tl := &correlate.Tally{Protocol: e.ask.protocol, Operation: operation, Status: e.ask.ok, Requests: uint32(n), RequestOctets: uint64(100 * n), ResponseOctets: uint64(2000 * n)}
		if h.rng.IntN(30) == 0 {
			tl.Status, tl.Errors, tl.Unanswered = e.ask.failed, tl.Requests, 1
			q.Errors += uint64(n)
		}
		for range n {
			d := h.around(10 * time.Millisecond)
			tl.Response.Add(d, h.pool)
			q.Response.Add(d, h.pool)
			q.Request.Add(d/20, h.pool)
			q.Sent.Add(d/10, h.pool)
			if e.ask.protocol == l7.TLS && tl.Errors == 0 {
				tl.Handshake.Add(2*d, h.pool)
			}
		}
		if e.ask.protocol == l7.TLS {
			tl.ServerName, tl.ALPN, tl.NotAfter = e.server.Name, "h2", t.Add(60*24*time.Hour).UnixNano()
		}
		q.Life.Requests += uint64(n)
		q.Messages = append(q.Messages, tl)
	}
	q.Life.Errors, q.Life.Protocol = q.Errors, e.ask.protocol
	return q
}

// giveBack lets the histograms of a record be used again.
func (h *Host) giveBack(r *correlate.Record) {
	q := r.Requests
	if q == nil {
		return
	}
	for _, s := range []*dist.Small{q.Response, q.Request, q.Sent} {
		s.Reset(h.pool)
	}
	for _, tl := range q.Messages {
		tl.Response.Reset(h.pool)
		tl.Handshake.Reset(h.pool)
	}
}

// around is a time with a long tail, ns.
func (h *Host) around(typical time.Duration) int64 {
	return int64(float64(typical) * (0.5 + h.rng.ExpFloat64()))
}
