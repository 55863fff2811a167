package volume

import (
	"fmt"
	"math/rand/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/sink"
)

// world is what happens on one host, interval by interval.
type world struct {
	name string
	play func(f *feed, interval int, r *rand.Rand)
	// folded is a field of weir_self that has to say that something was folded.
	folded sink.SelfInt
}

func hostile() []world {
	return []world{
		{"scan", scan, sink.SelfPortsScanned},
		{"containers", containers, sink.SelfFoldedContainer},
		{"peers", peers, sink.SelfFoldedOneEnd},
		{"executables", executables, sink.SelfFoldedProcess},
		{"operations", requests, sink.SelfOperationsOther},
		{"everything", everything, sink.SelfFoldedOneEnd},
	}
}

// scan tries every port of one server, and one port of 12 000 addresses.
func scan(f *feed, interval int, _ *rand.Rand) {
	scanner, target := container("", "", "scanner", "nmap"), container("shop", "db", "shop-db-1", "")
	for i := range 12000 {
		f.add(refused(&scanner, at(target, uint16(1+12000*interval+i), false)))
		f.add(refused(&scanner, at(external(fmt.Sprintf("10.%d.%d.%d", interval, i>>8, i&255)), 443, false)))
	}
}

// containers are 2000 that live for less than the interval, with the names that Docker
// makes up or a batch system gives.
func containers(f *feed, interval int, r *rand.Rand) {
	db := at(container("shop", "db", "shop-db-1", "postgres"), 5432, true)
	for i := range 2000 {
		name, image := fmt.Sprintf("job-%08x", r.Uint32()), "job:1"
		if i%2 == 0 {
			name, image = word(r)+"_"+word(r), fmt.Sprintf("registry/run:%d", r.Uint32())
		}
		c := container("", "", name, "worker")
		c.Contain.Image = image
		f.add(connection(&c, db))
		f.used(&c)
		f.event(&sink.Event{Type: sink.EventStart, Severity: sink.SeverityInfo, Server: name, Message: "started"})
		f.event(&sink.Event{Type: sink.EventStop, Severity: sink.SeverityInfo, Server: name, Message: "ended"})
	}
}

// peers are 20 000 names that one service talks to, none twice.
func peers(f *feed, interval int, _ *rand.Rand) {
	web := container("shop", "web", "shop-web-1", "crawler")
	for i := range 20000 {
		f.add(connection(&web, at(external(fmt.Sprintf("host%d.example", 20000*interval+i)), 443, true)))
	}
}

// executables are 4000 processes that call themselves something else each.
func executables(f *feed, _ int, r *rand.Rand) {
	db := at(container("shop", "db", "shop-db-1", "postgres"), 5432, true)
	for range 4000 {
		c := container("shop", "web", "shop-web-1", fmt.Sprintf("p%x", r.Uint64()))
		f.add(connection(&c, db))
		f.used(&c)
	}
}

// requests asks for 4000 routes and 4000 names that nobody asked for before, some of
// them no valid text.
func requests(f *feed, _ int, r *rand.Rand) {
	for i := range 4000 {
		web := container("shop", fmt.Sprintf("web%d", i%40), fmt.Sprintf("shop-web%d-1", i%40), "app")
		api := at(container("shop", fmt.Sprintf("api%d", i%10), fmt.Sprintf("shop-api%d-1", i%10), "api"), 8080, true)
		f.add(asked(connection(&web, api), l7.HTTP, fmt.Sprintf("GET /%x\n,= \xff\\", r.Uint64()), fmt.Sprint(100+r.IntN(500))))
		dns := at(container("shop", "dns", "shop-dns-1", "coredns"), 53, true)
		f.add(asked(connection(&web, dns), l7.DNS, fmt.Sprintf("A %x.example", r.Uint64()), "NXDOMAIN"))
	}
}

func everything(f *feed, interval int, r *rand.Rand) {
	for _, w := range hostile() {
		if w.name != "everything" {
			w.play(f, interval, r)
		}
	}
}

// word is one that could have been made up for a container: letters and no more.
func word(r *rand.Rand) string {
	b := make([]byte, 6)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}

func address(a, b, c, d byte) flows.Addr {
	return flows.Addr{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}

// container is an end in a container, of a Compose service where there is a project.
func container(project, service, name, process string) correlate.Endpoint {
	e := correlate.Endpoint{
		Addr: address(172, 18, 0, 2), Port: 40000, Local: true, Kind: correlate.KindContainer, Name: name,
		Contain: &correlate.Container{ID: name, Name: name, Image: "img:1", Project: project, Service: service},
		NetNS:   4026531840, Cookie: 77,
		Match: correlate.Match{Method: correlate.MethodCookie, Confidence: correlate.AttributionExact},
	}
	if project != "" {
		e.Name = project + "/" + service
	}
	if process != "" {
		e.Process = &correlate.Process{PID: 42, Start: 1, Name: process, Cmdline: "/usr/bin/" + process + " --serve", User: "app", PPID: 1}
	}
	return e
}

func external(name string) correlate.Endpoint {
	return correlate.Endpoint{Addr: address(192, 0, 2, 1), Kind: correlate.KindExternal, Name: name}
}

// at makes an end the server on a port.
func at(e correlate.Endpoint, port uint16, listened bool) *correlate.Endpoint {
	e.Port, e.Listened = port, listened
	return &e
}

// connection is one that was opened, used and closed in the interval.
func connection(client, server *correlate.Endpoint) *correlate.Record {
	m := correlate.Measures{
		ToServer: correlate.Traffic{Payload: 100, WireOctets: 400, WirePackets: 4},
		ToClient: correlate.Traffic{Payload: 2000, WireOctets: 2300, WirePackets: 5, Retransmits: 1},
		Opened:   1, Closed: 1, RTT: correlate.RTT{Sum: 300e3, Count: 2, Min: 100e3, Max: 200e3, Jitter: 80e3},
	}
	reporter := correlate.ReporterBoth
	if !server.Local {
		reporter = correlate.ReporterClient
	}
	return &correlate.Record{
		Proto: flows.TCP, Client: *client, Server: *server, Reporter: reporter, Attribution: correlate.AttributionExact,
		HasPayload: true, HasWire: true, Delta: m, Total: m, Connect: 1500e3, ConnectTotal: 1500e3, MinRTT: 90e3,
		Flags: flows.SYN | flows.ACK | flows.SYNOnly, Final: true, EndReason: flows.EndOfFlow,
		CloseCause: correlate.CloseNormal, Initiator: correlate.InitiatorSYN,
	}
}

// refused is an attempt that somebody said no to.
func refused(client, server *correlate.Endpoint) *correlate.Record {
	r := connection(client, server)
	m := correlate.Measures{ToServer: correlate.Traffic{WireOctets: 74, WirePackets: 1}, ToClient: correlate.Traffic{WireOctets: 54, WirePackets: 1}}
	m.Failed[correlate.FailRefused] = 1
	r.Delta, r.Total, r.Connect, r.ConnectTotal, r.MinRTT = m, m, 0, 0, 0
	r.CloseCause = correlate.CloseRefused
	return r
}

var times = dist.NewPool(1 << 16)

// asked adds one request with its answer to a record.
func asked(r *correlate.Record, p l7.Protocol, operation, status string) *correlate.Record {
	t := &correlate.Tally{Protocol: p, Operation: operation, Status: status, Requests: 1, RequestOctets: 100, ResponseOctets: 2000}
	q := &correlate.Requests{Response: new(dist.Small), Request: new(dist.Small), Sent: new(dist.Small), Messages: []*correlate.Tally{t}}
	for _, s := range []*dist.Small{q.Response, &t.Response} {
		s.Add(3e6, times)
	}
	q.Life = correlate.RequestsLife{Requests: 1, Responses: 1, ResponseSum: 3e6, Protocol: p}
	r.Requests = q
	return r
}

// reading is what a container or a process used of everything that there is.
func reading() *usage.Reading {
	r := new(usage.Reading)
	for v := range usage.Values {
		r.Set(usage.Value(v), 1000)
	}
	r.Set(usage.CPUUser, 1e9)
	return r
}
