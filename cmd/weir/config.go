package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/docker"
	"github.com/weir-probe/weir/correlate/enrich/container/runtimes"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/alert"
	"github.com/weir-probe/weir/sink/influxdb"
)

// env is what a command may touch outside its arguments.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

// Config composes the configuration of every package: built-in defaults < YAML
// file < environment < flags.
type Config struct {
	Host        string            `yaml:"host"`     // tag `host`; default the host name
	Interval    time.Duration     `yaml:"interval"` // row interval
	Duration    time.Duration     `yaml:"duration"` // stop after; 0 = run until told to stop
	Sinks       []string          `yaml:"sinks"`
	WriteJitter time.Duration     `yaml:"write_jitter"` // hosts of a fleet spread their writes over this much
	InfluxDB    InfluxConfig      `yaml:"influxdb"`
	Kafka       KafkaConfig       `yaml:"kafka"`
	Packets     string            `yaml:"packets"`
	Interfaces  []string          `yaml:"interfaces"`
	MaxFlows    int               `yaml:"max_flows"` // in the kernel's flow table
	Journal     JournalConfig     `yaml:"journal"`
	Listen      string            `yaml:"listen"`
	FlowLogRate int               `yaml:"flow_log_rate"`
	Rows        sink.Config       `yaml:"rows"`
	Join        correlate.Config  `yaml:"join"`
	Cmdline     string            `yaml:"cmdline"`   // redact, full or off
	Docker      string            `yaml:"docker"`    // Engine API socket
	Runtimes    []string          `yaml:"runtimes"`  // auto, none, docker:PATH, podman:PATH, cri:PATH
	Subnets     map[string]string `yaml:"subnets"`   // CIDR → display name
	Fleet       []string          `yaml:"fleet"`     // CIDRs of hosts that run a probe
	Nodes       map[string]string `yaml:"nodes"`     // other hosts by CIDRs of theirs
	Zone        string            `yaml:"zone"`      // that this host is in
	Zones       map[string]string `yaml:"zones"`     // CIDRs, or names of hosts → zone
	Sockets     string            `yaml:"sockets"`   // all, or own: of this network namespace
	L7          string            `yaml:"l7"`        // on, turns or off
	L7Octets    int               `yaml:"l7_octets"` // copied of a turn, at most
	L7Rate      int               `yaml:"l7_rate"`   // requests per second and CPU told in full
	TLS         []string          `yaml:"tls"`       // names of what is looked into (globs), or all; none: off
	Resources   string            `yaml:"resources"` // on or off
	Names       NamesConfig       `yaml:"names"`
	Anomaly     AnomalyConfig     `yaml:"anomaly"`
	Alerts      alert.Config      `yaml:"alerts"`
	ShowSelf    bool              `yaml:"show_self"`
	LogLevel    string            `yaml:"log_level"`
	LogFormat   string            `yaml:"log_format"`

	file string // where it was read from
}

// InfluxConfig is the server that rows are shipped to: URL, organisation, bucket
// and a token for 2.x and 3, URL, database and user for 1.x (or bucket
// DATABASE/POLICY and token USER:PASSWORD).
type InfluxConfig struct {
	URL                string          `yaml:"url"`
	Org                string          `yaml:"org"`
	Bucket             string          `yaml:"bucket"`
	LogBucket          string          `yaml:"log_bucket"`
	Token              influxdb.Secret `yaml:"-"` // environment only
	TokenFile          string          `yaml:"token_file"`
	Username           string          `yaml:"username"`
	Password           influxdb.Secret `yaml:"-"` // environment only
	Database           string          `yaml:"database"`
	RetentionPolicy    string          `yaml:"retention_policy"`
	LogDatabase        string          `yaml:"log_database"`
	LogRetentionPolicy string          `yaml:"log_retention_policy"`
	NoGzip             bool            `yaml:"no_gzip"`
	Timeout            time.Duration   `yaml:"timeout"`
	CAFile             string          `yaml:"ca_file"`
	InsecureSkipVerify bool            `yaml:"insecure_skip_verify"`
}

// sink is the configuration of the package that ships.
func (c InfluxConfig) sink() influxdb.Config {
	return influxdb.Config{
		URL: c.URL, Org: c.Org, Bucket: c.Bucket, LogBucket: c.LogBucket, Token: c.Token, TokenFile: c.TokenFile,
		Username: c.Username, Password: c.Password, Database: c.Database, RetentionPolicy: c.RetentionPolicy,
		LogDatabase: c.LogDatabase, LogRetentionPolicy: c.LogRetentionPolicy, NoGzip: c.NoGzip, Timeout: c.Timeout,
		CAFile: c.CAFile, InsecureSkipVerify: c.InsecureSkipVerify,
	}
}

// JournalConfig is where and how much history is kept.
type JournalConfig struct {
	Dir      string        `yaml:"dir"` // empty: in memory only
	MaxBytes int64         `yaml:"max_bytes"`
	MaxAge   time.Duration `yaml:"max_age"`

	explicit bool // chosen by the user: failing to open it is an error, not a fallback
}

const (
	defaultConfigFile = "/etc/weir/weir.yaml"
	defaultJournal    = "/var/lib/weir/journal"
)

func defaultConfig() Config {
	host, _ := os.Hostname()
	return Config{
		Host: host, Interval: 10 * time.Second, WriteJitter: 5 * time.Second, Kafka: KafkaConfig{Timeout: 30 * time.Second}, Packets: "auto", MaxFlows: 131072,
		Journal: JournalConfig{Dir: defaultJournal, MaxBytes: 1 << 30, MaxAge: 7 * 24 * time.Hour},
		Listen:  "127.0.0.1:8380", FlowLogRate: 1000, Rows: sink.DefaultConfig(), Join: correlate.DefaultConfig(),
		Names: defaultNames(), Anomaly: defaultAnomaly(), Alerts: alert.DefaultConfig(), L7: l7On, L7Octets: maxL7Octets, L7Rate: defaultL7Rate, Resources: resourcesOn, Sockets: socketsAll, Cmdline: "redact", Docker: docker.DefaultHost, Runtimes: []string{runtimes.Auto},
		LogLevel: "info", LogFormat: "text",
	}
}

// setting is one value that a flag and an environment variable can give.
type setting struct {
	name, usage string
	repeat      bool
	set         func(c *Config, v string) error
}

// settings lists the flags that other tools rely on; each has the environment
// variable WEIR_NAME.
var settings = []setting{
	{"interval", "row interval, at least 1s", false, func(c *Config, v string) error { return duration(&c.Interval, v) }},
	{"sink", "influxdb, kafka://BROKER/TOPIC, file:PATH, stdout (line protocol) or none; repeatable", true, func(c *Config, v string) error { c.Sinks = append(c.Sinks, v); return nil }},
	{"influxdb-url", "InfluxDB 1.8+, 2 or 3, e.g. http://127.0.0.1:8086", false, func(c *Config, v string) error { c.InfluxDB.URL = v; return nil }},
	{"influxdb-org", "organisation (InfluxDB 2)", false, func(c *Config, v string) error { c.InfluxDB.Org = v; return nil }},
	{"influxdb-bucket", "bucket, or database/retention-policy on 1.x", false, func(c *Config, v string) error { c.InfluxDB.Bucket = v; return nil }},
	{"influxdb-log-bucket", "bucket of flow_log (default: the bucket's name with _log)", false, func(c *Config, v string) error { c.InfluxDB.LogBucket = v; return nil }},
	{"influxdb-token-file", "file that holds the token", false, func(c *Config, v string) error { c.InfluxDB.TokenFile = v; return nil }},
	{"packets", "packet path: auto, off, tcx, tc or afpacket", false, func(c *Config, v string) error { c.Packets = v; return nil }},
	{"interface", "meter only these devices (glob); repeatable", true, func(c *Config, v string) error { c.Interfaces = append(c.Interfaces, v); return nil }},
	{"journal", "directory of the journal; empty for none", false, func(c *Config, v string) error { c.Journal.Dir, c.Journal.explicit = v, true; return nil }},
	{"listen", "address of the local API; empty for none", false, func(c *Config, v string) error { c.Listen = v; return nil }},
	{"duration", "stop after this time", false, func(c *Config, v string) error { return duration(&c.Duration, v) }},
	{"flow-log-rate", "rows/s of flow_log, with a burst of ten times that; 0 = off", false, func(c *Config, v string) error { return integer(&c.FlowLogRate, v) }},
	{"l7", "payload: on (application protocols and response times), turns (response times only) or off", false, func(c *Config, v string) error { c.L7 = v; return nil }},
	{"tls", "look inside TLS (OpenSSL, Go) of containers and services with this name (glob), or of all; off unless given; repeatable", true, func(c *Config, v string) error { c.TLS = append(c.TLS, v); return nil }},
	{"resources", "what containers and services use: on or off", false, func(c *Config, v string) error { c.Resources = v; return nil }},
	{"host", "value of the host tag", false, func(c *Config, v string) error { c.Host = v; return nil }},
	{"zone", "availability zone of this host", false, func(c *Config, v string) error { c.Zone = v; return nil }},
	{"docker", "Docker Engine API socket", false, func(c *Config, v string) error { c.Docker = v; return nil }},
	{"runtime", "container runtime: auto, none, docker:PATH, podman:PATH or cri:PATH; repeatable", true, appendRuntime},
	{"log-level", "debug, info, warn or error", false, func(c *Config, v string) error { c.LogLevel = v; return nil }},
	{"log-format", "text or json", false, func(c *Config, v string) error { c.LogFormat = v; return nil }},
}

// foreignEnv maps the InfluxDB CLI's variables to ours.
var foreignEnv = map[string]func(c *Config, v string) error{
	"INFLUX_HOST":   func(c *Config, v string) error { c.InfluxDB.URL = v; return nil },
	"INFLUX_TOKEN":  func(c *Config, v string) error { c.InfluxDB.Token = influxdb.Secret(v); return nil },
	"INFLUX_ORG":    func(c *Config, v string) error { c.InfluxDB.Org = v; return nil },
	"INFLUX_BUCKET": func(c *Config, v string) error { c.InfluxDB.Bucket = v; return nil },
}

// secretEnv are values that have no flag, so that they never stand on a command line.
var secretEnv = map[string]func(c *Config, v string) error{
	"WEIR_INFLUXDB_TOKEN":    func(c *Config, v string) error { c.InfluxDB.Token = influxdb.Secret(v); return nil },
	"WEIR_INFLUXDB_USERNAME": func(c *Config, v string) error { c.InfluxDB.Username = v; return nil },
	"WEIR_INFLUXDB_PASSWORD": func(c *Config, v string) error { c.InfluxDB.Password = influxdb.Secret(v); return nil },
	"WEIR_KAFKA_PASSWORD":    func(c *Config, v string) error { c.Kafka.Password = influxdb.Secret(v); return nil },
}

// notOurs are WEIR_ variables that others set: the build, the tests, Kubernetes.
var notOurs = []string{
	"WEIR_TEST_", "WEIR_REQUIRE", "WEIR_CACHE", "WEIR_CONFIG",
	"WEIR_SERVICE_", "WEIR_PORT", // from Kubernetes, where there is a Service named weir
}

// given is a value with where it came from, for error messages.
type given struct{ name, value string }

// loadConfig builds the configuration. flags are the flags that were set, in
// command-line order; file is the value of --config.
func loadConfig(file string, flags []given, environ []string) (Config, error) {
	c := defaultConfig()
	if err := c.readFile(file, environ); err != nil {
		return c, err
	}
	if err := c.readEnv(environ); err != nil {
		return c, err
	}
	if err := c.apply(flags, "--"); err != nil {
		return c, err
	}
	return c, c.Validate()
}

func (c *Config) readEnv(environ []string) error {
	environ = slices.Sorted(slices.Values(environ)) // errors do not depend on the order
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		if set := foreignEnv[k]; set != nil {
			if err := set(c, v); err != nil {
				return fmt.Errorf("environment %s: %w", k, err)
			}
		}
	}
	var flags []given
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		switch {
		case !strings.HasPrefix(k, "WEIR_") || slices.ContainsFunc(notOurs, func(p string) bool { return strings.HasPrefix(k, p) }):
		case secretEnv[k] != nil:
			_ = secretEnv[k](c, v)
		default:
			name := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k, "WEIR_")), "_", "-")
			s := settingNamed(name)
			if s == nil {
				return fmt.Errorf("environment %s: no such setting; see `weir run --help` (each flag has a variable WEIR_NAME)", k)
			}
			if !s.repeat {
				flags = append(flags, given{name, v})
				continue
			}
			for _, p := range strings.Split(v, ",") {
				flags = append(flags, given{name, strings.TrimSpace(p)})
			}
		}
	}
	return c.apply(flags, "environment WEIR_")
}

// apply sets values; a repeatable one replaces what came before its source.
func (c *Config) apply(values []given, source string) error {
	for _, g := range values {
		switch g.name {
		case "sink":
			c.Sinks = nil
		case "interface":
			c.Interfaces = nil
		case "tls":
			c.TLS = nil
		case "runtime":
			c.Runtimes = nil
		}
	}
	for _, g := range values {
		if err := settingNamed(g.name).set(c, g.value); err != nil {
			name := g.name
			if !strings.HasPrefix(source, "--") {
				name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			}
			return fmt.Errorf("%s%s: %w", source, name, err)
		}
	}
	return nil
}

func settingNamed(name string) *setting {
	for i := range settings {
		if settings[i].name == name {
			return &settings[i]
		}
	}
	return nil
}

func lookup(environ []string, key string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return ""
}

func duration(d *time.Duration, v string) error {
	x, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is not a duration like 10s or 5m", v)
	}
	*d = x
	return nil
}

func integer(i *int, v string) error {
	x, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", v)
	}
	*i = x
	return nil
}

// Validate checks everything that can be checked without touching the host, and
// fills in what follows from other values.
func (c *Config) Validate() error {
	if c.Interval < time.Second {
		return fmt.Errorf("interval %s: must be at least 1s", c.Interval)
	}
	if c.Duration < 0 {
		return fmt.Errorf("duration %s: must not be negative", c.Duration)
	}
	if c.FlowLogRate < 0 {
		return fmt.Errorf("flow-log-rate %d: must not be negative (0 switches flow_log off)", c.FlowLogRate)
	}
	if c.MaxFlows < 1024 {
		return fmt.Errorf("max_flows %d: must be at least 1024", c.MaxFlows)
	}
	if err := oneOf("packets", c.Packets, "auto", "off", "tcx", "tc", "afpacket"); err != nil {
		return err
	}
	if err := errors.Join(c.validateL7(), c.validateTLS()); err != nil {
		return err
	}
	if err := oneOf("resources", c.Resources, resourcesOn, resourcesOff); err != nil {
		return err
	}
	if err := oneOf("cmdline", c.Cmdline, "redact", "full", "off"); err != nil {
		return err
	}
	if err := oneOf("log-level", c.LogLevel, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	if err := oneOf("log-format", c.LogFormat, "text", "json"); err != nil {
		return err
	}
	for _, g := range c.Interfaces {
		if _, err := filepath.Match(g, "x"); err != nil {
			return fmt.Errorf("interface %q: not a valid glob", g)
		}
	}
	if err := c.validateListen(); err != nil {
		return err
	}
	if err := c.runtimes(nil).Validate(); err != nil {
		return err
	}
	if err := c.validateNetworks(); err != nil {
		return err
	}
	if err := oneOf("sockets", c.Sockets, socketsAll, socketsOwn); err != nil {
		return err
	}
	if c.Host == "" {
		return errors.New("host: the host name is empty; set it with --host")
	}
	c.Rows.Host, c.Rows.FlowLogRate = c.Host, c.FlowLogRate
	return errors.Join(c.validateSinks(), c.Names.validate(), c.Anomaly.validate(), c.Alerts.Validate(), c.Join.Validate(), c.Rows.Validate())
}

// validateListen keeps the local API local: it has no authentication.
func (c *Config) validateListen() error {
	if c.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen %q: must be ADDRESS:PORT like 127.0.0.1:8380", c.Listen)
	}
	if host == "localhost" {
		return nil
	}
	if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
		return fmt.Errorf("listen %q: the local API has no authentication and listens on loopback only (127.0.0.1 or [::1])", c.Listen)
	}
	return nil
}

func oneOf(name, v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%s %q: must be one of %s", name, v, strings.Join(allowed, ", "))
}
