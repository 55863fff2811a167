package anomaly

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config says what is learnt and what counts as an anomaly. Zero values mean the
// defaults, but for State.
type Config struct {
	// Learn is how long everything is taken for usual, at first and of each edge that
	// is new later (default 24 h): a day, so that each hour of it is known.
	Learn time.Duration `yaml:"learn"`
	// Relearn is how long a service is left alone after a deployment (default 30 min).
	Relearn time.Duration `yaml:"relearn"`
	// Accept is when an anomaly that does not end is the new usual (default 24 h).
	Accept time.Duration `yaml:"accept"`
	// Forget is when an edge without traffic is forgotten (default 30 d).
	Forget time.Duration `yaml:"forget"`
	// State is the file that keeps what was learnt, "" for none; SaveEvery how often
	// it is written (default 10 min).
	State     string        `yaml:"state"`
	SaveEvery time.Duration `yaml:"save_every"`
	// MaxEdges bounds the graph (default 4096 edges, about 3.5 KB each once they are
	// busy), MaxNames the ends in it (default 4096).
	MaxEdges int `yaml:"max_edges"`
	MaxNames int `yaml:"max_names"`
	// Off lists types that are not looked for.
	Off        []string   `yaml:"off"`
	Thresholds Thresholds `yaml:"thresholds"`
	Overrides  []Override `yaml:"overrides"`
	Silences   []Silence  `yaml:"silences"`
}

// Silence keeps anomalies from being told; they are counted. Empty fields match
// everything; * in a name matches any part of it.
type Silence struct {
	Type   string `yaml:"type"`
	Client string `yaml:"client"`
	Server string `yaml:"server"`
	Port   int    `yaml:"port"`
	Until  string `yaml:"until"` // RFC 3339; "": for ever
}

// over says whether the silence has ended at now; what is no time never was one.
func (s *Silence) over(now time.Time) bool {
	if s.Until == "" {
		return false
	}
	t, err := time.Parse(time.RFC3339, s.Until)
	return err != nil || !now.Before(t)
}

// DefaultConfig returns the defaults, with no state.
func DefaultConfig() Config {
	return Config{
		Learn: 24 * time.Hour, Relearn: 30 * time.Minute, Accept: 24 * time.Hour, Forget: 30 * 24 * time.Hour, SaveEvery: 10 * time.Minute,
		MaxEdges: 4096, MaxNames: 4096,
		Thresholds: Thresholds{
			ScanPorts: 30, ScanHosts: 30, Bytes: 1e6, Conns: 60, Factor: 2, ExfilBytes: 10e6, ExfilHour: 50e6, ExfilDay: 200e6,
			BeaconTurn: 10, BeaconSize: 64e3, Failures: 5, FailShare: 0.08, Retransmit: 0.02, LatencyMS: 5,
			QuietMin: 10, DNSNames: 50, DNSLength: 24, Unknown: 0.25,
		},
	}
}

// WithDefaults returns c with its zero values filled in.
func (c Config) WithDefaults() Config {
	d := DefaultConfig()
	for _, v := range [...]struct{ v, def *time.Duration }{
		{&c.Learn, &d.Learn}, {&c.Relearn, &d.Relearn}, {&c.Accept, &d.Accept}, {&c.Forget, &d.Forget}, {&c.SaveEvery, &d.SaveEvery},
	} {
		fill(v.v, *v.def)
	}
	fill(&c.MaxEdges, d.MaxEdges)
	fill(&c.MaxNames, d.MaxNames)
	c.Thresholds.fill(&d.Thresholds)
	c.Overrides = slices.Clone(c.Overrides)
	for i := range c.Overrides {
		c.Overrides[i].fill(&c.Thresholds)
	}
	return c
}

func fill[T comparable](v *T, def T) {
	if *v == *new(T) {
		*v = def
	}
}

// Bounds of what the configuration may ask for: memory, and the state's file.
const maxMaxEdges = 1 << 16

// Validate checks ranges; zero values are fine.
func (c Config) Validate() error {
	c = c.WithDefaults()
	for _, d := range [...]struct {
		name     string
		v, least time.Duration
	}{
		{"learn", c.Learn, time.Second}, // a trial's
		{"relearn", c.Relearn, time.Minute}, {"accept", c.Accept, time.Minute}, {"forget", c.Forget, time.Minute}, {"save_every", c.SaveEvery, time.Minute},
	} {
		if d.v < d.least {
			return fmt.Errorf("anomaly: %s %s: must be at least %s", d.name, d.v, d.least)
		}
	}
	for _, n := range [...]struct {
		name string
		v    int
	}{
		{"max_edges", c.MaxEdges}, {"max_names", c.MaxNames},
	} {
		if n.v < 1 || n.v > maxMaxEdges {
			return fmt.Errorf("anomaly: %s %d: must be 1 to %d", n.name, n.v, maxMaxEdges)
		}
	}
	if err := c.Thresholds.validate("thresholds"); err != nil {
		return err
	}
	for i := range c.Overrides {
		if err := c.Overrides[i].validate(fmt.Sprintf("overrides[%d]", i)); err != nil {
			return err
		}
	}
	for _, name := range c.Off {
		if _, ok := typeNamed(name); !ok {
			return unknownType("off", name)
		}
	}
	for i, s := range c.Silences {
		if _, ok := typeNamed(s.Type); !ok && s.Type != "" {
			return unknownType(fmt.Sprintf("silences[%d].type", i), s.Type)
		}
		if s.Port < 0 || s.Port > 65535 {
			return fmt.Errorf("anomaly: silences[%d].port %d: must be 0 (all) to 65535", i, s.Port)
		}
		if _, err := time.Parse(time.RFC3339, s.Until); err != nil && s.Until != "" {
			return fmt.Errorf("anomaly: silences[%d].until %q: is not a time like 2027-01-31T00:00:00Z", i, s.Until)
		}
		if s.Type == "" && s.Client == "" && s.Server == "" && s.Port == 0 {
			return fmt.Errorf("anomaly: silences[%d] matches everything; name a type, a client, a server or a port (or switch anomaly.mode off)", i)
		}
	}
	return nil
}

func unknownType(key, name string) error {
	return fmt.Errorf("anomaly: %s %q: must be one of %s", key, name, strings.Join(typeNames[:], ", "))
}

// matches says whether a silence holds for a at now.
func (s *Silence) matches(a *Anomaly, now time.Time) bool {
	return (s.Type == "" || s.Type == a.Type.String()) && (s.Port == 0 || s.Port == int(a.Port)) &&
		glob(s.Client, a.Client.Name) && glob(s.Server, a.Server.Name) && !s.over(now)
}

// glob matches a pattern in which * stands for any characters; "" matches everything.
func glob(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return s == pattern
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
