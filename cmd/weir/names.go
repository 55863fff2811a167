package main

import (
	"errors"
	"time"

	"github.com/weir-probe/weir/correlate/enrich/dns"
	"github.com/weir-probe/weir/correlate/enrich/ranges"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/sink"
)

// NamesConfig says how ends elsewhere are called.
type NamesConfig struct {
	DNS      string        `yaml:"dns"`       // on: by the answers that this host was given; off
	MaxNames int           `yaml:"max_names"` // different names of ends; beyond them `external`
	Stale    time.Duration `yaml:"stale"`     // an answer names longer than it lives
	Ranges   []string      `yaml:"ranges"`    // files with networks and their names
	GeoIP    []string      `yaml:"geoip"`     // MaxMind databases
}

func defaultNames() NamesConfig {
	return NamesConfig{DNS: "on", MaxNames: 1000, Stale: time.Hour}
}

func (c *NamesConfig) validate() error {
	if c.MaxNames < 1 || c.Stale < 0 {
		return errors.New("names: max_names must be at least 1, stale not negative")
	}
	return oneOf("names.dns", c.DNS, "on", "off")
}

// outside is what knows ends elsewhere. dns is nil when it is off.
type outside struct {
	dns    *dns.Table
	ranges *ranges.Table
}

func newOutside(cfg *NamesConfig) (o outside, err error) {
	if o.ranges, err = ranges.New(ranges.Config{Files: cfg.Ranges, GeoIP: cfg.GeoIP}); err != nil {
		return o, err
	}
	if cfg.DNS == "on" {
		o.dns = dns.New(dns.Config{MaxNames: cfg.MaxNames, Stale: cfg.Stale})
	}
	return o, nil
}

// waited is how long a connection had waited for DNS, in ns; see correlate.Config.
func (o *outside) waited(a flows.Addr, netns uint32, began int64) int64 {
	if o.dns == nil {
		return 0
	}
	d, _ := o.dns.Wait(a, netns, began)
	return int64(d)
}

// service is the Kubernetes service that an address was; see correlate.Config.
func (o *outside) service(a flows.Addr, netns uint32, began int64) string {
	if o.dns == nil {
		return ""
	}
	return o.dns.Service(a, netns, began)
}

// nameIdle is how long a display name keeps its place after its last connection.
const nameIdle = time.Hour

func (o *outside) tick(now int64) {
	if o.dns != nil {
		o.dns.Tick(now, nameIdle)
	}
}

// self writes the row of stage names.
func (o *outside) self(s *sink.Self, t time.Time) {
	r := o.ranges.Stats()
	fields := []sink.SelfField{
		sink.SelfNetworks.Is(uint64(r.Prefixes)), s.Meter(sink.StageNames, sink.SelfErrors, r.GeoErrors),
	}
	if o.dns != nil {
		d := o.dns.Stats()
		m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageNames, n, v) }
		fields = append(fields, sink.SelfNames.Is(uint64(d.Names)), sink.SelfAddresses.Is(uint64(d.Addresses)),
			m(sink.SelfAnswers, d.Answers), m(sink.SelfUnasked, d.Unasked), m(sink.SelfLostDecode, d.Malformed),
			m(sink.SelfEvicted, d.Evicted), m(sink.SelfRefusedNames, d.Refused))
	}
	s.Stage(t, sink.StageNames, fields...)
}
