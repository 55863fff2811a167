package sink

import (
	"strconv"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// point is a row as an independent decoder reads it.
type point struct {
	measurement string
	series      string // measurement and tags
	tags        map[string]string
	fields      map[string]any
	time        int64
}

func (p point) int(name string) int64 { n, _ := p.fields[name].(int64); return n }

// points decodes batches and checks every row against the schema.
func points(t testing.TB, batches []*Batch) []point {
	t.Helper()
	var ps []point
	for _, b := range batches {
		d := lineprotocol.NewDecoderWithBytes(b.Lines)
		n := 0
		for d.Next() {
			ps = append(ps, decode(t, d))
			n++
		}
		if n != b.Rows || n == 0 {
			t.Fatalf("batch says %d rows and holds %d", b.Rows, n)
		}
		if b.Time < ps[len(ps)-1].time {
			t.Fatalf("batch time %d is older than a row of it", b.Time)
		}
	}
	checkSchema(t, ps)
	return ps
}

func decode(t testing.TB, d *lineprotocol.Decoder) point {
	t.Helper()
	p := point{tags: map[string]string{}, fields: map[string]any{}}
	m, err := d.Measurement()
	if err != nil {
		t.Fatal(err)
	}
	p.measurement = string(m)
	p.series = p.measurement
	for {
		k, v, err := d.NextTag()
		if err != nil {
			t.Fatal(err)
		}
		if k == nil {
			break
		}
		p.tags[string(k)] = string(v)
		p.series += "," + string(k) + "=" + string(v)
	}
	for {
		k, v, err := d.NextField()
		if err != nil {
			t.Fatal(err)
		}
		if k == nil {
			break
		}
		x := v.Interface()
		p.fields[string(k)] = x
	}
	at, err := d.Time(lineprotocol.Nanosecond, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	p.time = at.UnixNano()
	return p
}

func typeOf(v any) Type {
	switch v.(type) {
	case int64:
		return Int
	case float64:
		return Float
	case string:
		return String
	case bool:
		return Bool
	}
	return 0
}

// checkSchema holds every row to the schema, and that no two rows are one point.
func checkSchema(t testing.TB, ps []point) {
	t.Helper()
	schema := map[string]*Measurement{}
	for _, m := range Measurements() {
		schema[m.Name] = &m
	}
	seen := map[string]bool{}
	for _, p := range ps {
		m := schema[p.measurement]
		if m == nil {
			t.Fatalf("measurement %q is not in the schema", p.measurement)
		}
		for k := range p.tags {
			if _, ok := m.Tag(k); !ok {
				t.Errorf("%s: tag %s is not in the schema", m.Name, k)
			}
		}
		for k, v := range p.fields {
			f, ok := m.Field(k)
			if !ok || typeOf(v) != f.Type || f.Planned {
				t.Errorf("%s: field %s is a %T, in the schema %+v", m.Name, k, v, f)
			}
		}
		if id := p.series + " " + strconv.FormatInt(p.time, 10); seen[id] {
			t.Errorf("two rows are one point: %s", id)
		} else {
			seen[id] = true
		}
	}
}

func of(ps []point, measurement string) []point {
	var out []point
	for _, p := range ps {
		if p.measurement == measurement {
			out = append(out, p)
		}
	}
	return out
}

func sum(ps []point, field string) (n int64) {
	for _, p := range ps {
		n += p.int(field)
	}
	return n
}

// at is the end of the nth interval.
func at(n int) time.Time { return time.Unix(1790000000+int64(n)*10, 0) }

func testConfig() Config {
	c := DefaultConfig()
	c.Host = "h1"
	return c
}

func addr(a, b, c, d byte) flows.Addr {
	return flows.Addr{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}

// container is an end in a Compose service's container.
func container(project, service, name, process string) correlate.Endpoint {
	return correlate.Endpoint{
		Addr: addr(172, 18, 0, 2), Port: 40000, Local: true, Kind: correlate.KindContainer, Name: project + "/" + service,
		Process: &correlate.Process{PID: 42, Start: 1789999999e9, Name: process, Cmdline: process + " -x", User: "app", PPID: 1},
		Contain: &correlate.Container{ID: "c0ffee", Name: name, Image: "img:1", Project: project, Service: service},
		NetNS:   4026531840, Cookie: 77,
		Match: correlate.Match{Method: correlate.MethodCookie, Confidence: correlate.AttributionExact},
	}
}

// plain is an end in a container nobody composed.
func plain(name, image string) correlate.Endpoint {
	e := container("", "", name, "worker")
	e.Name, e.Contain.Image = name, image
	return e
}

func external(name string) correlate.Endpoint {
	return correlate.Endpoint{Addr: addr(192, 0, 2, 1), Port: 443, Kind: correlate.KindExternal, Name: name, Listened: true}
}

// listening makes an end a server on a port.
func listening(e correlate.Endpoint, port uint16) correlate.Endpoint {
	e.Port, e.Listened = port, true
	return e
}

// record is one established TCP connection with traffic.
func record(client, server correlate.Endpoint) *correlate.Record {
	m := correlate.Measures{
		ToServer: correlate.Traffic{Payload: 100, WireOctets: 400, WirePackets: 4},
		ToClient: correlate.Traffic{Payload: 2000, WireOctets: 2300, WirePackets: 5, Retransmits: 1},
		Opened:   1, Closed: 1, RTT: correlate.RTT{Sum: 300e3, Count: 2, Min: 100e3, Max: 200e3, Jitter: 80e3},
	}
	return &correlate.Record{
		Proto: flows.TCP, Start: at(0).UnixNano() + 1, End: at(0).UnixNano() + 5e9,
		Client: client, Server: server, Reporter: correlate.ReporterBoth, Attribution: correlate.AttributionExact,
		HasPayload: true, HasWire: true, Delta: m, Total: m, Connect: 1500e3, ConnectTotal: 1500e3, MinRTT: 90e3,
		Flags: flows.SYN | flows.ACK | flows.SYNOnly, Final: true, EndReason: flows.EndOfFlow, CloseCause: correlate.CloseNormal, Initiator: correlate.InitiatorSYN,
	}
}

// refused is one failed attempt.
func refused(client, server correlate.Endpoint, port uint16) *correlate.Record {
	server.Port, server.Listened = port, false
	m := correlate.Measures{ToServer: correlate.Traffic{WireOctets: 74, WirePackets: 1}, ToClient: correlate.Traffic{WireOctets: 54, WirePackets: 1}}
	m.Failed[correlate.FailRefused] = 1
	r := record(client, server)
	r.Delta, r.Total, r.Connect, r.ConnectTotal, r.MinRTT = m, m, 0, 0, 0
	r.CloseCause = correlate.CloseRefused
	return r
}
