package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// world is everything one end-to-end run has.
type world struct {
	t        *testing.T
	db       *influxd.Server
	engine   *dockerd.Engine
	weir     *probe.Process
	workload string // binary on the host
	image    string
	truthDir string
	pager    *pager
	began    time.Time // before anything was made
}

// TestEndToEnd is "done means" of the first issue: real traffic of containers,
// of the host and of short-lived processes, the database killed in the middle,
// and every connection in it afterwards with the right owners and octets.
func TestEndToEnd(t *testing.T) {
	for _, version := range []string{"2.7.12", "1.8.10"} {
		t.Run("InfluxDB "+version, func(t *testing.T) { newWorld(t, version).run() })
	}
}

func newWorld(t *testing.T, version string) *world {
	machine.Root(t, "runs the probe")
	w := &world{t: t, truthDir: t.TempDir(), began: time.Now()}
	os.Chmod(w.truthDir, 0o777)
	w.db = influxd.Start(t, version)
	w.engine = dockerd.Start(t)
	w.engine.KeepRules(t) // of the port that shop_db_1 publishes
	w.workload = probe.Build(t, "./test/workload")
	w.image = w.engine.Import(t, "weir-test/workload:1", map[string]string{"/workload": w.workload}, nil)
	w.engine.Network(t, "weirshop")

	bin := probe.Build(t, "./cmd/weir")
	w.pager = newPager(t)
	w.weir = probe.Start(t, bin, "INFLUX_TOKEN="+w.db.Token, "run", "--config", w.pager.config(t), "--interval", "2s", "--influxdb-url", w.db.URL,
		"--influxdb-org", w.db.Org, "--influxdb-bucket", influxd.Bucket, "--journal", filepath.Join(t.TempDir(), "journal"),
		"--docker", strings.TrimPrefix(w.engine.Host, "unix://"), "--listen", "", "--flow-log-rate", "100000", "--host", "e2e", "--zone", "here")
	w.weir.WaitReady(t)
	return w
}

// container runs the workload in a container of the network.
func (w *world) container(name string, docker []string, workload ...string) (id string) {
	args := []string{"--network", "weirshop", "--name", name, "-v", w.truthDir + ":/truth"}
	args = append(append(append(args, docker...), w.image, "/workload"), workload...)
	return w.engine.Run(w.t, args...)
}

// client runs a client in a container of its own that shares the host's PID
// namespace, so that the PIDs in its truth are the host's, and waits for its end.
func (w *world) client(name string, workload ...string) []truth {
	w.t.Helper()
	log := name + ".truth"
	id := w.container(name, append([]string{"--pid", "host"}, dockerd.Compose("shop", name, 1)...), append(workload, "-log", "/truth/"+log)...)
	w.engine.Docker(w.t, "wait", id)
	return readTruth(w.t, filepath.Join(w.truthDir, log))
}

// hostClient runs a client on the host.
func (w *world) hostClient(name string, workload ...string) []truth {
	w.t.Helper()
	log := filepath.Join(w.truthDir, name+".truth")
	cmd := exec.Command(w.workload, append(workload, "-log", log)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v: %s", name, err, out)
	}
	return readTruth(w.t, log)
}

// hostServer runs a server on the host until the test ends and returns its PID.
func (w *world) hostServer(addr string) int {
	w.t.Helper()
	cmd := exec.Command(w.workload, "server", "-tcp", addr, "-log", filepath.Join(w.truthDir, "hostserver.truth"))
	ready, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	ready.Read(make([]byte, 64)) // "serving"
	return cmd.Process.Pid
}

func (w *world) run() {
	t, e := w.t, w.engine
	db := w.container("shop_db_1", append([]string{"-p", "18080:9000"}, dockerd.Compose("shop", "db", 1)...), "server", "-tcp", ":9000", "-udp", ":9001", "-log", "/truth/db.truth")
	quiet := w.container("quiet", nil, "server", "-tcp", ":9000", "-log", "/truth/quiet.truth")
	dbIP, dbPID := e.IP(t, db, "weirshop"), e.PID(t, db)
	gateway := e.Docker(t, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "weirshop")
	hostPID := w.hostServer(gateway + ":9100")
	w.serving(dbIP + ":9000")

	rx0, tx0 := counters(t, e.PID(t, quiet))
	toQuiet := w.client("meter", "client", "-addr", e.IP(t, quiet, "weirshop")+":9000", "-n", "300", "-rate", "300", "-send", "500", "-recv", "1000")
	rx1, tx1 := counters(t, e.PID(t, quiet))

	toDB := w.client("web", "client", "-addr", dbIP+":9000", "-n", "300", "-rate", "150", "-send", "2000", "-recv", "100000", "-requests", "2")
	w.db.Kill(t) // in the middle
	udp := w.client("dns", "client", "-proto", "udp", "-addr", dbIP+":9001", "-n", "200", "-rate", "200", "-send", "60", "-recv", "400")
	w.knock(dbIP)
	short := w.client("cron", "spawn", "-addr", dbIP+":9000", "-n", "600", "-rate", "200", "-parallel", "40", "-send", "300", "-recv", "900")
	w.db.Restart(t)
	toHost := w.client("agent", "client", "-addr", gateway+":9100", "-n", "100", "-rate", "100")
	published := w.hostClient("published", "client", "-addr", w.hostIP()+":18080", "-n", "100", "-rate", "100")
	proxied := w.hostClient("proxied", "client", "-addr", "127.0.0.1:18080", "-n", "50", "-rate", "50")

	w.arrived(len(toQuiet) + len(toDB) + len(udp) + len(short) + len(toHost) + len(published) + 2*len(proxied))
	w.weir.Stop(t)
	rows := logRows(t, w.db)
	dbEnd := expect{serverContainer: "shop_db_1", server: "shop/db", serverPID: dbPID, serverPort: 9000}
	from := func(x expect, name, container, display string) *expect {
		x.name, x.clientContainer, x.client = name, container, display
		return &x
	}
	from(dbEnd, "container to container", "web", "shop/web").check(t, rows, toDB)
	from(dbEnd, "processes of milliseconds", "cron", "shop/cron").check(t, rows, short)
	pub := from(dbEnd, "host to published port", "", "workload")
	pub.natted = true
	pub.check(t, rows, published)
	dbEnd.serverPort = 9001
	from(dbEnd, "UDP", "dns", "shop/dns").check(t, rows, udp)
	host := expect{server: "workload", serverPID: hostPID, serverPort: 9100}
	from(host, "container to host", "agent", "shop/agent").check(t, rows, toHost)
	q := expect{serverContainer: "quiet", server: "quiet", serverPID: e.PID(t, quiet), serverPort: 9000}
	from(q, "metered", "meter", "shop/meter").check(t, rows, toQuiet)
	w.checkProxy(rows, len(proxied), dbIP)
	w.checkTotals("shop/web", "shop/db", "9000", toDB)
	w.checkTotals("shop/cron", "shop/db", "9000", short)
	w.checkInterface(rx1-rx0, tx1-tx0)
	w.checkLosses()
	w.checkDashboards()
	w.checkPages(sumOf(toDB), sumOf(short))
	w.checkSelf()
	w.checkAlerts()
}

// elsewhere are fields of what is not in use here.
var elsewhere = map[sink.SelfInt]string{
	sink.SelfLostDropped: "AF_PACKET, conntrack's events",
	sink.SelfDumps:       "conntrack, where packets do not tell translations",
	sink.SelfNamespaces:  "conntrack",
}

// checkSelf: every field that the schema promises of weir_self is written.
func (w *world) checkSelf() {
	have := map[string]bool{}
	for _, r := range w.db.QueryInfluxQL(w.t, influxd.Bucket, `SHOW FIELD KEYS FROM weir_self`) {
		have[fmt.Sprint(r.Values["fieldKey"])] = true
	}
	for _, m := range sink.Measurements() {
		if m.Name != sink.MeasurementSelf {
			continue
		}
		for _, f := range m.Fields {
			if !have[f.Name] && elsewhere[sink.SelfInt(f.Name)] == "" {
				w.t.Errorf("weir_self has no field %s", f.Name)
			}
		}
	}
}

// serving waits until a server answers.
func (w *world) serving(addr string) {
	probe.Until(w.t, 10*time.Second, addr+" answers", func() error {
		return exec.Command(w.workload, "client", "-addr", addr, "-n", "1", "-log", "/dev/null").Run()
	})
}

// hostIP is an address of the host that is not loopback, where DNAT happens.
func (w *world) hostIP() string {
	out, err := exec.Command("ip", "-4", "-o", "addr", "show", "scope", "global").Output()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) > 3 && !strings.HasPrefix(f[1], "br-") && !strings.HasPrefix(f[1], "docker") {
			return strings.Split(f[3], "/")[0]
		}
	}
	w.t.Skip("the host has no address besides loopback and bridges")
	return ""
}

// arrived waits until the database holds at least n connections.
func (w *world) arrived(n int) {
	w.t.Helper()
	probe.Until(w.t, 60*time.Second, "all connections are in the database", func() error {
		rows := w.db.QueryInfluxQL(w.t, influxd.LogBucket, `SELECT count(start) FROM flow_log WHERE client_process = 'workload' OR client_process = 'docker-proxy'`)
		if len(rows) == 1 {
			if have, _ := strconv.Atoi(fmt.Sprint(rows[0].Values["count"])); have >= n {
				return nil
			}
			return fmt.Errorf("%v of %d", rows[0].Values["count"], n)
		}
		return fmt.Errorf("nothing of %d", n)
	})
}

// checkProxy: a connection to a published port on loopback is two real ones (D3).
func (w *world) checkProxy(rows map[string][]row, n int, dbIP string) {
	in, out := 0, 0
	for _, rs := range rows {
		for _, r := range rs {
			if r.str("server_process") == "docker-proxy" && r.str("client_process") == "workload" {
				in++
			}
			if r.str("client_process") == "docker-proxy" && r.str("server_container") == "shop_db_1" && r.str("server_address") == dbIP {
				out++
			}
		}
	}
	if in != n || out != n {
		w.t.Errorf("docker-proxy: %d connections in, %d out, want %d each", in, out, n)
	}
	w.t.Logf("%-34s %5d connections: %d in, %d out", "loopback by docker-proxy", n, in, out)
}

// checkTotals: the rows of flow add up to what the workload says.
func (w *world) checkTotals(client, server, port string, truths []truth) {
	var sent, received, n int64
	for _, x := range truths {
		if x.Role == "client" {
			sent, received, n = sent+int64(x.Sent), received+int64(x.Received), n+1
		}
	}
	rows := w.db.QueryInfluxQL(w.t, influxd.Bucket, fmt.Sprintf(`SELECT sum(to_server_bytes) AS s, sum(to_client_bytes) AS c, sum(opened) AS o, sum(attempts) AS a, sum(closed) AS e FROM flow WHERE client='%s' AND server='%s' AND server_port='%s'`, client, server, port))
	if len(rows) != 1 {
		w.t.Errorf("flow %s → %s: %d rows", client, server, len(rows))
		return
	}
	v := rows[0].Values
	for k, want := range map[string]int64{"s": sent, "c": received, "o": n, "a": n, "e": n} {
		if got, _ := v[k].(json.Number).Int64(); got != want {
			w.t.Errorf("flow %s → %s: sum of %s is %d, want %d", client, server, k, got, want)
		}
	}
	w.t.Logf("%-34s %5d connections: %d octets to server, %d to client, as the rows of flow say", client+" → "+server, n, sent, received)
}

// checkInterface: wire octets are those of the interface within 0.5 %. The
// segments are small, so that no super-packet is counted as one by the veth.
func (w *world) checkInterface(rx, tx int64) {
	rows := w.db.QueryInfluxQL(w.t, influxd.Bucket, `SELECT sum(to_server_wire_bytes) AS s, sum(to_client_wire_bytes) AS c FROM flow WHERE server='quiet'`)
	if len(rows) != 1 {
		w.t.Fatal("no rows of the metered server")
	}
	for k, dev := range map[string]int64{"s": rx, "c": tx} {
		got, _ := rows[0].Values[k].(json.Number).Int64()
		diff := float64(dev-got) / float64(dev)
		w.t.Logf("%-34s wire %d, interface %d: %.3f %%", "interface counters "+k, got, dev, 100*diff)
		if diff < -0.005 || diff > 0.005 {
			w.t.Errorf("wire octets %d, interface %d: %.2f %% apart", got, dev, 100*diff)
		}
	}
}

// checkLosses: every stage says that it lost nothing. How much had an owner is told.
func (w *world) checkLosses() {
	w.db.NothingLost(w.t)
	cov := w.db.QueryInfluxQL(w.t, influxd.Bucket, `SELECT min(coverage) AS c FROM weir_self WHERE stage='join'`)
	if len(cov) != 1 || cov[0].Values["c"] == nil {
		w.t.Errorf("no coverage: %v", cov)
	} else {
		w.t.Logf("%-34s %v", "least coverage of an interval", cov[0].Values["c"])
	}
}
