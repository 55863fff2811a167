package setup

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// planner3 plans for InfluxDB 3 Core, which has databases and, of what there is
// to set up, nothing else. Not tested against a real one: it is not to be had
// from source; this follows its documentation (/api/v3/configure/database).
type planner3 struct {
	server
	o      Options
	places places
	*Plan
}

func (p *planner3) plan(ctx context.Context) error {
	var list []map[string]any
	if err := p.call(ctx, "GET", "api/v3/configure/database?"+url.Values{"format": {"json"}}.Encode(), nil, &list); err != nil {
		return err
	}
	var there []string
	for _, d := range list {
		there = append(there, fmt.Sprint(d["iox::database"]))
	}
	for _, i := range []Place{Raw, Log} {
		d := &p.places[i]
		if slices.Contains(there, d.name) {
			detail := "its retention is what it was made with"
			if d.asked {
				detail += ": InfluxDB 3 Core cannot change it"
			}
			p.add(Step{Action: Keep, Kind: "database", Name: d.name, Detail: detail})
			continue
		}
		p.add(Step{Action: Create, Kind: "database", Name: d.name, Detail: d.holds + ", keeps " + days(d.keep),
			apply: func(ctx context.Context) error {
				in := map[string]string{"db": d.name}
				if d.keep > 0 {
					in["retention_period"] = strings.ReplaceAll(days(d.keep), " ", "")
				}
				return p.call(ctx, "POST", "api/v3/configure/database", in, nil)
			}})
	}
	if !p.o.NoDownsampling {
		p.note("downsampling", "", "InfluxDB 3 has no tasks: what was to go to %s and %s stays at the probe's interval", p.places[Minute].name, p.places[Hour].name)
	}
	if !p.o.NoAlerts {
		p.note("checks", "", "InfluxDB 3 has none: alert in Grafana, which reads it")
	}
	if p.o.TokenFile != "" || p.o.ReadTokenFile != "" {
		p.note("token", "", "InfluxDB 3 Core has administrators' tokens only (`influxdb3 create token --admin`): none that may only write, or only read, can be made")
	}
	return p.o.files(p.Plan, p.places)
}
