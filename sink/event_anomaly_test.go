package sink

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/flows"
)

// Both rows of an anomaly are of one series, and (points checks it) all is in the schema.
func TestAnomalyEvents(t *testing.T) {
	s := NewEvents(testConfig())
	a := anomaly.Anomaly{
		Type: anomaly.PortScan, Since: at(0).UnixNano(), Time: at(1).UnixNano(), Port: 22, Proto: flows.TCP, Expected: 30, Seen: 99, Score: 3.3,
		Client: anomaly.Party{Kind: correlate.KindContainer, Name: "shop/web", Container: "shop-web-1", PID: 7, Process: "nmap", User: "app", Cmdline: `nmap "-p-"`},
		Server: anomaly.Party{Address: "192.0.2.1"}, Message: "tried", Evidence: "hosts=1", Ongoing: 1, Fingerprint: 0xabc,
	}
	active := AnomalyEvent(&a)
	s.Add(at(1), &active)
	b := a
	b.State, b.Time, b.Ongoing = anomaly.Resolved, at(60).UnixNano(), 0
	over := AnomalyEvent(&b)
	s.Add(at(60), &over)
	ps := points(t, s.Flush())
	if len(ps) != 2 || ps[0].series != ps[1].series || ps[0].series != "event,client=shop/web,host=h1,severity=error,type=port_scan" {
		t.Fatalf("%+v", ps)
	}
	if ps[0].int(FieldOngoing) != 1 || ps[1].int(FieldOngoing) != 0 || ps[0].fields[LogUser[0]] != "app" || ps[0].fields[LogPID[0]] != int64(7) {
		t.Errorf("%v", ps)
	}
	f := ps[1].fields
	if f[FieldState] != "resolved" || f[FieldFingerprint] != "0000000000000abc" || f[LogDuration] != 600.0 || f[LogCmdline[0]] != `nmap "-p-"` || f[LogAddress[1]] != "192.0.2.1" || f[LogPort[1]] != int64(22) {
		t.Errorf("%v", f)
	}
	for _, x := range anomaly.Types() {
		if !strings.Contains(anomalyTypes(), x.String()) || severityOf(x) == "" {
			t.Errorf("%s", x)
		}
	}
}
