package cases

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// shop is a Compose project on an engine of its own, and a weir that knows its habits.
type shop struct {
	*dockerd.Engine
	t             *testing.T
	project       string
	engine        string                // where weir finds it
	start         func(*exec.Cmd) error // how weir is
	pager         *pager
	state, config string
	hosts         string            // the file that is /etc/hosts in each container
	address       map[string]string // of services, in it
	containers    []string          // ids
	addresses     []string          // that containers have had
}

// images of the same program: a container of the other one is another version.
const firstVersion, nextVersion = "weir-test/workload:1", "weir-test/workload:2"

// Shares of records without an owner from which on it is told that owners are missing, and
// nothing else is: other tests' containers belong to engines that this weir does not know.
const someUnattributed, allUnattributed = 0.25, 1

func newShop(t *testing.T, project string, unattributed float64) *shop {
	t.Helper()
	machine.Root(t, "runs the probe")
	s := &shop{Engine: dockerd.Start(t), t: t, project: project, pager: newPager(t), address: map[string]string{}}
	s.engine, s.start = s.Host, (*exec.Cmd).Start
	files := map[string]string{"/workload": probe.Build(t, "./test/workload")}
	s.Import(t, firstVersion, files, nil)
	s.Import(t, nextVersion, files, nil)
	s.Network(t, project)
	dir := t.TempDir()
	s.state, s.config, s.hosts = filepath.Join(dir, "state"), filepath.Join(dir, "weir.yaml"), filepath.Join(dir, "hosts")
	s.write(s.hosts, "127.0.0.1 localhost\n")
	// Of what a test may do in minutes as little as may be is too little to be told: a
	// minute without traffic is.
	s.write(s.config, fmt.Sprintf(`anomaly:
  learn: 20s
  relearn: 1m
  state: %s
  save_every: 1m
  thresholds: {quiet_minutes: 1, failures_per_min: 5, bytes_per_min: 1000, conns_per_min: 5, unattributed_share: %g}
alerts:
  wait: 0s
  every: 0s
  receivers:
    - {kind: webhook, url: '%s/hook', severity: info}
`, s.state, unattributed, s.pager.URL))
	return s
}

func (s *shop) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// name is what rows call a service.
func (s *shop) name(service string) string { return s.project + "/" + service }

// run starts the number-th container of a service, as Compose would.
func (s *shop) run(image, service string, number int, workload ...string) (id string) {
	s.t.Helper()
	args := append([]string{"--network", s.project, "-v", s.hosts + ":/etc/hosts:ro", "--label", "com.docker.compose.config-hash=" + image},
		dockerd.Compose(s.project, service, number)...)
	id = s.Run(s.t, append(append(args, image, "/workload"), workload...)...)
	s.containers = append(s.containers, id)
	s.addresses = append(s.addresses, s.IP(s.t, id, s.project))
	return id
}

// serve is run of a server, under whose address alone its service is known from then on.
func (s *shop) serve(image, service string, number int) (id string) {
	s.t.Helper()
	id = s.run(image, service, number, "server", "-tcp", ":9000", "-log", "/dev/null")
	s.address[service] = s.IP(s.t, id, s.project)
	text := "127.0.0.1 localhost\n"
	for name, ip := range s.address {
		text += ip + " " + name + "\n"
	}
	s.write(s.hosts, text)
	return id
}

// connections is what a client has to be told to make five of them a second; habit.carries
// says the same of them in a minute.
func connections(to string) []string {
	return []string{"client", "-addr", to, "-n", "1000000", "-rate", "5", "-send", "1000", "-recv", "5000", "-log", "/dev/null"}
}

// habit is an edge between two services that is five connections a second; of every is
// one minute so, in the others there is nothing.
type habit struct {
	client, server string
	every          int
}

func (h habit) record(project string) *correlate.Record {
	end := func(service string) correlate.Endpoint {
		return correlate.Endpoint{Local: true, Kind: correlate.KindContainer, Name: project + "/" + service,
			Contain: &correlate.Container{ID: service, Name: service, Project: project, Service: service}}
	}
	r := &correlate.Record{Proto: flows.TCP, Client: end(h.client), Server: end(h.server), HasPayload: true,
		Reporter: correlate.ReporterBoth, Initiator: correlate.InitiatorSYN}
	r.Server.Port, r.Server.Listened = 9000, true
	const perMinute = 5 * 60
	r.Delta.Opened, r.Delta.Closed = perMinute, perMinute
	r.Delta.ToServer.Payload, r.Delta.ToClient.Payload = perMinute*1008, perMinute*5000
	return r
}

// knows leaves the state of a weir that has seen the habits for two days, until now.
func (s *shop) knows(habits ...habit) {
	s.t.Helper()
	d := anomaly.New(anomaly.DefaultConfig())
	now := time.Now().Truncate(time.Minute)
	for i := 2 * 24 * 60; i >= 0; i-- {
		for _, h := range habits {
			if i%h.every == 0 {
				d.Add(h.record(s.project))
			}
		}
		d.Tick(now.Add(-time.Duration(i) * time.Minute))
	}
	if err := anomaly.Save(s.state, d.AppendState(nil)); err != nil {
		s.t.Fatal(err)
	}
}

// watched is one run of weir.
type watched struct {
	*probe.Process
	*rows
	s *shop
}

// watch starts a weir with the state that there is, and waits until what it sees counts.
func (s *shop) watch(args ...string) *watched {
	s.t.Helper()
	p, rows := ownBy(s.t, s.start, append([]string{"--config", s.config, "--runtime", "docker:" + s.engine}, args...)...)
	w := &watched{p, rows, s}
	w.latest()
	w.reaches(time.Unix(0, w.detector()[0].time).Add(20 * time.Second))
	return w
}

// minute is when the minute that goes on began, and some time after that.
func (w *watched) minute(after time.Duration) time.Time {
	return w.latest().Truncate(time.Minute).Add(after)
}

// latest is the end of the last interval that was told.
func (w *watched) latest() time.Time {
	w.s.t.Helper()
	var at int64
	probe.Until(w.s.t, patience, "rows of the detector", func() error {
		for _, x := range w.detector() {
			at = max(at, x.time)
		}
		if at == 0 {
			return errors.New("none")
		}
		return nil
	})
	return time.Unix(0, at)
}

func (w *watched) detector() []row {
	return w.all(w.s.t, "weir_self", func(x row) bool { return x.tag("stage") == "anomaly" })
}

// reaches waits until the interval that ends at t is told, and one more.
func (w *watched) reaches(t time.Time) {
	w.s.t.Helper()
	probe.Until(w.s.t, time.Until(t)+patience, "rows of "+t.Format(time.TimeOnly), func() error {
		if at := w.latest(); !at.After(t) {
			time.Sleep(time.Second)
			return fmt.Errorf("%s so far", at.Format(time.TimeOnly))
		}
		return nil
	})
}

// told are the anomalies of the shop: those with an end in it, under any name.
func (w *watched) told() []row {
	w.s.t.Helper()
	return w.all(w.s.t, "event", func(x row) bool { return x.str("fingerprint") != "" && w.s.has(x) })
}

// has says whether a row is about the shop: by the name of an end, or an address or a
// container that the text names.
func (s *shop) has(x row) bool {
	for _, name := range []string{x.tag("client"), x.tag("server")} {
		if strings.HasPrefix(name, s.project+"/") {
			return true
		}
	}
	words := strings.FieldsFunc(x.str("evidence")+" "+x.str("message"), func(r rune) bool { return strings.ContainsRune(" =:/()", r) })
	for _, w := range words {
		for _, ip := range s.addresses {
			if w == ip {
				return true
			}
		}
	}
	for _, id := range s.containers {
		if strings.Contains(x.str("client_container_id")+x.str("server_container_id"), id) || strings.Contains(x.str("message"), id[:12]) {
			return true
		}
	}
	return false
}

// nothing wants no anomaly of the shop, and a detector that has known it from its first
// interval on.
func (w *watched) nothing(when string) {
	w.s.t.Helper()
	for _, x := range w.told() {
		w.s.t.Errorf("%s: %s", when, x)
	}
	for _, x := range w.detector() {
		if x.num("learning") != 0 || x.num("edges") < 1 {
			w.s.t.Fatalf("%s: what was learnt is lost: %s", when, x)
		}
	}
}

// onlyTold wants one anomaly of the shop in the rows, a new edge of a process, and the
// alert of it.
func (w *watched) onlyTold(client, server string) {
	t, s := w.s.t, w.s
	t.Helper()
	var events []row
	probe.Until(t, patience, "the new edge is told", func() error {
		if events = w.told(); len(events) == 0 || len(s.alerts()) == 0 {
			return fmt.Errorf("%d rows, alerts %+v", len(events), s.alerts())
		}
		return nil
	})
	w.settle(t)
	events, alerts := w.told(), s.alerts()
	if len(events) != 1 || len(alerts) != 1 {
		t.Fatalf("rows %v, alerts %+v", events, alerts)
	}
	want(t, events[0], map[string]any{"type": "new_edge", "state": "active", "client": s.name(client), "server": s.name(server),
		"client_process": "workload", "server_process": "workload"})
	if a := alerts[0]; a.Type != "new_edge" || a.Fingerprint != events[0].str("fingerprint") || !strings.HasPrefix(a.ClientActor.Cmdline, "/workload client -addr ") {
		t.Errorf("the alert: %+v", a)
	}
}

// alerts are those of anomalies in the shop.
func (s *shop) alerts() (list []paged) {
	s.pager.mu.Lock()
	defer s.pager.mu.Unlock()
	for _, a := range s.pager.alerts {
		if a.Fingerprint != "" && (strings.HasPrefix(a.Client, s.project+"/") || strings.HasPrefix(a.Server, s.project+"/")) {
			list = append(list, a)
		}
	}
	return list
}
