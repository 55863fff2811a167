package anomaly

import "fmt"

// Thresholds are what is not worth a word below, whatever was learnt. Traffic is per
// minute.
type Thresholds struct {
	ScanPorts  int     `yaml:"scan_ports"`         // different ports of one host, in ten minutes
	ScanHosts  int     `yaml:"scan_hosts"`         // different hosts, in ten minutes
	Bytes      float64 `yaml:"bytes_per_min"`      // volume
	Conns      float64 `yaml:"conns_per_min"`      // volume
	Factor     float64 `yaml:"factor"`             // above the most (below the least) that is usual
	ExfilBytes float64 `yaml:"exfil_bytes"`        // exfiltration, in a minute
	ExfilHour  float64 `yaml:"exfil_hour_bytes"`   // … in an hour
	ExfilDay   float64 `yaml:"exfil_day_bytes"`    // … in a day
	BeaconTurn int     `yaml:"beacon_intervals"`   // regular intervals seen before it is told
	BeaconSize float64 `yaml:"beacon_bytes"`       // of a connection, both directions
	Failures   float64 `yaml:"failures_per_min"`   // failed attempts and requests
	FailShare  float64 `yaml:"failures_share"`     // … of all
	Retransmit float64 `yaml:"retransmit_share"`   // of segments
	LatencyMS  float64 `yaml:"latency_ms"`         // slower than usual by this much
	QuietMin   int     `yaml:"quiet_minutes"`      // without a sign of life
	DNSNames   int     `yaml:"dns_names"`          // different names of one domain, in ten minutes
	DNSLength  float64 `yaml:"dns_length"`         // octets below the domain, mean
	Unknown    float64 `yaml:"unattributed_share"` // of records
}

// fill takes what t has not from dt.
func (t *Thresholds) fill(dt *Thresholds) {
	for _, v := range [...]struct{ v, def *int }{
		{&t.ScanPorts, &dt.ScanPorts}, {&t.ScanHosts, &dt.ScanHosts}, {&t.BeaconTurn, &dt.BeaconTurn}, {&t.QuietMin, &dt.QuietMin}, {&t.DNSNames, &dt.DNSNames},
	} {
		fill(v.v, *v.def)
	}
	for _, v := range [...]struct{ v, def *float64 }{
		{&t.Bytes, &dt.Bytes}, {&t.Conns, &dt.Conns}, {&t.Factor, &dt.Factor}, {&t.ExfilBytes, &dt.ExfilBytes}, {&t.ExfilHour, &dt.ExfilHour}, {&t.ExfilDay, &dt.ExfilDay},
		{&t.BeaconSize, &dt.BeaconSize}, {&t.Failures, &dt.Failures}, {&t.FailShare, &dt.FailShare}, {&t.Retransmit, &dt.Retransmit},
		{&t.LatencyMS, &dt.LatencyMS}, {&t.DNSLength, &dt.DNSLength}, {&t.Unknown, &dt.Unknown},
	} {
		fill(v.v, *v.def)
	}
}

// Bounds of what the thresholds may ask for.
const (
	maxBeacon   = beaconKept
	maxQuiet    = 240
	maxDistinct = 1000 // what a bitmap of 1024 bits can still tell
)

// validate checks ranges; of is where t stands.
func (t *Thresholds) validate(of string) error {
	for _, n := range [...]struct {
		name string
		v    int
		max  int
	}{
		{"scan_ports", t.ScanPorts, maxDistinct},
		{"scan_hosts", t.ScanHosts, maxDistinct}, {"beacon_intervals", t.BeaconTurn, maxBeacon},
		{"quiet_minutes", t.QuietMin, maxQuiet}, {"dns_names", t.DNSNames, maxDistinct},
	} {
		if n.v < 1 || n.v > n.max {
			return fmt.Errorf("anomaly: %s.%s %d: must be 1 to %d", of, n.name, n.v, n.max)
		}
	}
	for _, f := range [...]struct {
		name     string
		v        float64
		min, max float64
	}{
		{"bytes_per_min", t.Bytes, 1, 1e15}, {"conns_per_min", t.Conns, 1, 1e9}, {"factor", t.Factor, 1.1, 1e3}, {"exfil_bytes", t.ExfilBytes, 1, 1e15},
		{"exfil_hour_bytes", t.ExfilHour, 1, 1e15}, {"exfil_day_bytes", t.ExfilDay, 1, 1e15}, {"beacon_bytes", t.BeaconSize, 1, 1e9}, {"failures_per_min", t.Failures, 1, 1e9},
		{"failures_share", t.FailShare, 0.001, 1}, {"retransmit_share", t.Retransmit, 0.0001, 1}, {"latency_ms", t.LatencyMS, 0.001, 1e6},
		{"dns_length", t.DNSLength, 1, 200}, {"unattributed_share", t.Unknown, 0.01, 1},
	} {
		if !(f.v >= f.min && f.v <= f.max) {
			return fmt.Errorf("anomaly: %s.%s %g: must be %g to %g", of, f.name, f.v, f.min, f.max)
		}
	}
	return nil
}

// Override gives edges thresholds of their own; those that it has not are the common
// ones. Empty fields match everything, * in a name any part of it. The first that matches
// an edge holds.
type Override struct {
	Client     string `yaml:"client"`
	Server     string `yaml:"server"`
	Port       int    `yaml:"port"`
	Thresholds `yaml:",inline"`
}

func (o *Override) validate(of string) error {
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("anomaly: %s.port %d: must be 0 (all) to 65535", of, o.Port)
	}
	if o.Client == "" && o.Server == "" && o.Port == 0 {
		return fmt.Errorf("anomaly: %s matches everything: that is what thresholds are for", of)
	}
	return o.Thresholds.validate(of)
}

// limits are the thresholds of what goes from a client to a server; overrides name them
// as rows do.
func (c *Config) limits(client, server string, port uint16) *Thresholds {
	if len(c.Overrides) == 0 {
		return &c.Thresholds
	}
	client, server = escape(client), escape(server)
	for i := range c.Overrides {
		o := &c.Overrides[i]
		if (o.Port == 0 || o.Port == int(port)) && glob(o.Client, client) && glob(o.Server, server) {
			return &o.Thresholds
		}
	}
	return &c.Thresholds
}

// limit gives an edge its thresholds.
func (d *Detector) limit(e *edge) { e.limits = d.cfg.limits(e.c.name, e.s.name, e.port) }
