package sink

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// Granularity is how fine the identities in the tags are before the series
// budget has anything to say.
type Granularity string

const (
	GranularityAuto      Granularity = "auto"      // workload for edges of pods, process for all others
	GranularityProcess   Granularity = "process"   // process and container tags
	GranularityContainer Granularity = "container" // no process tags
	GranularityWorkload  Granularity = "workload"  // nor container tags: Compose service, workload
)

// minSeriesBudget leaves room for the rows that nothing may fold any further.
const minSeriesBudget = 500

// Config is what Aggregator, FlowLog and Self are made from. The zero value of
// a field is not its default: start from DefaultConfig.
type Config struct {
	// Host is the tag `host`.
	Host string `yaml:"-"`
	// Granularity is where identities start.
	Granularity Granularity `yaml:"granularity"`
	// SeriesBudget is how many series a measurement may have on this host.
	SeriesBudget int `yaml:"series_budget"`
	// SeriesExpiry is how long a series may lie unused before its place in the
	// budget is free again.
	SeriesExpiry time.Duration `yaml:"series_expiry"`
	// Operations is how many operations of one server and application protocol have
	// rows of their own; the rest is `other`.
	Operations int `yaml:"operations"`
	// Histograms also writes distributions as cumulative bucket fields.
	Histograms bool `yaml:"histograms"`
	// FlowLogRate is how many rows of flow_log may be written per second, with a
	// burst of ten times that; 0 switches flow_log off, a negative rate is no limit.
	FlowLogRate int `yaml:"-"`
	// LogHeartbeat is how often a connection that lives is written to flow_log.
	LogHeartbeat time.Duration `yaml:"log_heartbeat"`
}

// DefaultConfig returns the defaults; only Host is left to fill in.
func DefaultConfig() Config {
	return Config{
		Granularity:  GranularityAuto,
		SeriesBudget: 20000,
		SeriesExpiry: 6 * time.Hour,
		Operations:   64,
		FlowLogRate:  1000,
		LogHeartbeat: 5 * time.Minute,
	}
}

// Validate names every setting that cannot work.
func (c *Config) Validate() error {
	var errs []error
	if c.Host == "" {
		errs = append(errs, errors.New("host is empty: set it, it keeps the rows of hosts apart"))
	}
	switch c.Granularity {
	case GranularityAuto, GranularityProcess, GranularityContainer, GranularityWorkload:
	default:
		errs = append(errs, fmt.Errorf("granularity %q: want auto, process, container or workload", c.Granularity))
	}
	if c.SeriesBudget < minSeriesBudget {
		errs = append(errs, fmt.Errorf("series_budget %d: want at least %d", c.SeriesBudget, minSeriesBudget))
	}
	if c.SeriesExpiry < time.Minute {
		errs = append(errs, fmt.Errorf("series_expiry %v: want at least 1m", c.SeriesExpiry))
	}
	if c.Operations < 1 {
		errs = append(errs, fmt.Errorf("operations %d: want at least 1", c.Operations))
	}
	if c.LogHeartbeat < time.Second {
		errs = append(errs, fmt.Errorf("log_heartbeat %v: want at least 1s", c.LogHeartbeat))
	}
	return errors.Join(errs...)
}

// level returns where coarsening starts for a record. Pods come and go by the
// hundred, and what they run is what their workload runs.
func (g Granularity) level(r *correlate.Record) level {
	return max(g.levelOf(r.Client.Kind), g.levelOf(r.Server.Kind))
}

// levelOf is level for one end.
func (g Granularity) levelOf(k correlate.Kind) level {
	switch g {
	case GranularityAuto:
		if k == correlate.KindPod {
			return levelWorkload
		}
	case GranularityContainer:
		return levelContainer
	case GranularityWorkload:
		return levelWorkload
	}
	return levelProcess
}
