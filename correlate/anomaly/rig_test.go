package anomaly

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// start is the beginning of everything: a Monday, 00:00 UTC.
var start = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

// inService is an end here: a container of Compose service name, of an image.
func inService(name, image string) correlate.Endpoint {
	return replica(name, image, 1)
}

// replicas made already: a week has many thousands of each.
type replicaKey struct {
	name, image string
	i           int
}

var made = map[replicaKey]correlate.Endpoint{}

func replica(name, image string, i int) correlate.Endpoint {
	k := replicaKey{name, image, i}
	e, ok := made[k]
	if !ok {
		e = makeReplica(name, image, i)
		made[k] = e
	}
	return e
}

func makeReplica(name, image string, i int) correlate.Endpoint {
	project, svc, _ := strings.Cut(name, "/")
	return correlate.Endpoint{
		Addr: flows.Addr{10: 0xff, 11: 0xff, 12: 172, 13: 18, 14: byte(len(name)), 15: byte(i)}, Local: true, Kind: correlate.KindContainer, Name: name,
		Contain: container(name, image, project, svc, i),
		Process: process(svc),
	}
}

var (
	containers = map[string]*correlate.Container{}
	processes  = map[string]*correlate.Process{}
)

func container(name, image, project, svc string, i int) *correlate.Container {
	id := fmt.Sprint(name, "@", image, "#", i)
	if containers[id] == nil {
		containers[id] = &correlate.Container{ID: id, Name: fmt.Sprintf("%s-%s-%d", project, svc, i), Image: image, Project: project, Service: svc}
	}
	return containers[id]
}

func process(name string) *correlate.Process {
	if processes[name] == nil {
		processes[name] = &correlate.Process{PID: uint32(100 + len(processes)), Name: name, Cmdline: "/usr/bin/" + name + " --token=[redacted]\x1b[31m"}
	}
	return processes[name]
}

// elsewhere is an end outside: of a name, or without one.
func elsewhere(name, address string) correlate.Endpoint {
	if name == "" {
		name = external
	}
	return correlate.Endpoint{Addr: addr(address), Kind: correlate.KindExternal, Name: name}
}

// talk is one record: n connections' worth of traffic.
func talk(c, s correlate.Endpoint, port uint16, out, in uint64) *correlate.Record {
	r := &correlate.Record{Proto: flows.TCP, Client: c, Server: s, Initiator: correlate.InitiatorSYN, Reporter: correlate.ReporterBoth, HasPayload: true, Final: true}
	r.Client.Port, r.Server.Port, r.Server.Listened = 40000, port, true
	r.Delta.ToServer.Payload, r.Delta.ToClient.Payload, r.Delta.Opened = out, in, 1
	r.Delta.RTT = correlate.RTT{Sum: 300e3, Count: 1}
	r.Total = r.Delta
	return r
}

// serve has another end serve r.
func serve(r *correlate.Record, s correlate.Endpoint) {
	s.Port, s.Listened = r.Server.Port, r.Server.Listened
	r.Server = s
}

// refusal is an attempt that led to nothing.
func refusal(c, s correlate.Endpoint, port uint16) *correlate.Record {
	r := talk(c, s, port, 0, 0)
	r.Delta = correlate.Measures{}
	r.Delta.Failed[correlate.FailRefused] = 1
	r.Total = r.Delta
	return r
}

// rig runs a Detector in virtual time.
type rig struct {
	t    testing.TB
	d    *Detector
	now  time.Time
	step time.Duration
	skew time.Duration // of the probe's clock, a multiple of step
	all  []Anomaly
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, d: New(cfg), now: start, step: time.Minute}
	r.d.Tick(r.now)
	return r
}

// run feeds what each interval gives for a time, and returns what was told in it.
func (r *rig) run(d time.Duration, each func(now time.Time) []*correlate.Record) []Anomaly {
	n := len(r.all)
	for end := r.now.Add(d); r.now.Before(end); {
		for _, rec := range each(r.now) {
			rec.Start = r.now.Add(r.skew).UnixNano() + rec.Start
			r.d.Add(rec)
		}
		r.now = r.now.Add(r.step)
		for _, a := range r.d.Tick(r.now.Add(r.skew)) {
			a.Time -= int64(r.skew)
			r.all = append(r.all, a)
		}
	}
	return r.all[n:]
}

// types lists what was told, without ends.
func types(as []Anomaly) string {
	var s []string
	for _, a := range as {
		if a.State == Active {
			s = append(s, a.Type.String())
		}
	}
	return strings.Join(s, " ")
}

func (r *rig) want(as []Anomaly, want string) {
	r.t.Helper()
	if got := types(as); got != want {
		r.t.Errorf("got %q, want %q", got, want)
		for _, a := range as {
			r.t.Logf("%s %s %s → %s: %s [%s]", time.Unix(0, a.Time).UTC().Format("Mon 15:04"), a.State, a.Client.Name, a.Server.Name, a.Message, a.Evidence)
		}
	}
}
