package anomaly

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// One edge's thresholds are its own: it is silent where others are told, and told where
// others are silent; also after a reload and a restart.
func TestOverrides(t *testing.T) {
	surge := func(edge int, times uint64) func(time.Time, []*correlate.Record) []*correlate.Record {
		return func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
			rs[edge].Delta.ToClient.Payload *= times
			return rs
		}
	}
	cfg := Config{Overrides: []Override{
		{Client: "shop/*", Server: "*/db", Port: 5432, Thresholds: Thresholds{Bytes: 1e12}},
		{Client: "shop/api", Thresholds: Thresholds{Factor: 1.5}}, // not the first for that edge
	}}
	rnd := rand.New(rand.NewPCG(7, 7))
	r := newRig(t, cfg)
	r.run(2*day+10*time.Hour, shop(rnd, nil))
	r.want(r.run(15*time.Minute, shop(rnd, surge(apiDB, 12))), "")
	r.want(r.run(15*time.Minute, shop(rnd, surge(webAPI, 12))), "volume")
	var err error
	if r.d, err = Restore(cfg, r.d.AppendState(nil), r.now); err != nil {
		t.Fatal(err)
	}
	r.want(r.run(30*time.Minute, shop(rnd, surge(apiDB, 12))), "")
	r.d.Reconfigure(Config{})
	r.want(r.run(15*time.Minute, shop(rnd, surge(apiDB, 100))), "volume")
}

// Scans and tunnels have no edge: their client, and domain, are matched.
func TestOverridesOfScans(t *testing.T) {
	r := learnt(t, Config{Overrides: []Override{{Client: "shop/web", Thresholds: Thresholds{ScanPorts: 900}}, {Server: "av.example", Thresholds: Thresholds{DNSNames: 900}}}})
	r.want(r.run(10*time.Minute, with(func(now time.Time) (rs []*correlate.Record) {
		for i := range 10 {
			rs = append(rs, refusal(web, inside(0), uint16(1000+10*now.Minute()+i)), refusal(api, inside(0), uint16(1000+10*now.Minute()+i)))
			for _, of := range []string{"av", "evil"} {
				r.d.Query(2, question(fmt.Sprintf("%032d.%s.example", 10*now.Minute()+i, of)))
			}
		}
		return rs
	})), "port_scan dns_tunnel")
}

func TestValidateOverrides(t *testing.T) {
	for want, o := range map[string]Override{
		"matches everything":                {Thresholds: Thresholds{Factor: 3}},
		"overrides[0].port 70000":           {Port: 70000},
		"overrides[0].factor 0.5":           {Client: "a", Thresholds: Thresholds{Factor: 0.5}},
		"overrides[0].quiet_minutes 100000": {Client: "a", Thresholds: Thresholds{QuietMin: 100000}},
	} {
		if err := (Config{Overrides: []Override{o}}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q, got %v", want, err)
		}
	}
	mine := []Override{{Client: "a", Thresholds: Thresholds{Factor: 3}}}
	c := Config{Thresholds: Thresholds{LatencyMS: 7}, Overrides: mine}.WithDefaults()
	if o := c.Overrides[0]; o.LatencyMS != 7 || o.Factor != 3 || o.ScanPorts != 30 || mine[0].LatencyMS != 0 {
		t.Errorf("%+v, given %+v", o, mine[0])
	}
}
