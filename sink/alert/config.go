package alert

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// Secret is an address that may hold a password, or a token: whatever prints it prints
// that there is one.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

func (s Secret) GoString() string             { return s.String() }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Kind is how a receiver wants to be told.
type Kind string

// The kinds there are.
const (
	Webhook      Kind = "webhook"      // JSON of its own, see docs/alerts.md
	Alertmanager Kind = "alertmanager" // API v2
	Slack        Kind = "slack"        // incoming webhooks, also Mattermost's and others'
)

// Config of a Manager.
type Config struct {
	Host    string `yaml:"-"` // whose probe it is
	Version string `yaml:"-"`

	Receivers []Receiver    `yaml:"receivers"`
	Wait      time.Duration `yaml:"wait"`    // what comes within this goes in one message
	Every     time.Duration `yaml:"every"`   // between the messages to one receiver, at least
	Quiet     time.Duration `yaml:"quiet"`   // the same event is not told again before
	Timeout   time.Duration `yaml:"timeout"` // of one request
	// Grafana is where its pages are, for people: each alert has a link there.
	Grafana string `yaml:"grafana"`

	Logger *slog.Logger        `yaml:"-"` // nil = discard
	Rand   func(n int64) int64 `yaml:"-"` // in [0, n); nil = random
}

// Receiver is who is told.
type Receiver struct {
	Name string `yaml:"name"` // default: its kind; keeps its state across a reload
	Kind Kind   `yaml:"kind"`
	// URL or the file that holds it, read again at each request. An Alertmanager's is the
	// one before /api.
	URL     Secret `yaml:"url"`
	URLFile string `yaml:"url_file"`
	// TokenFile holds what to send as Authorization: Bearer.
	TokenFile string `yaml:"token_file"`
	// Severity and worse is told; default warning.
	Severity sink.Severity `yaml:"severity"`
	// Types are those told, all without any; !TYPE leaves one out.
	Types              []string `yaml:"types"`
	CAFile             string   `yaml:"ca_file"`
	InsecureSkipVerify bool     `yaml:"insecure_skip_verify"`
}

// DefaultConfig has no receiver.
func DefaultConfig() Config {
	return Config{Wait: 5 * time.Second, Every: 30 * time.Second, Quiet: 5 * time.Minute, Timeout: 10 * time.Second}
}

// maxReceivers bounds goroutines and tables.
const maxReceivers = 32

// Validate says what is wrong with c, and what to do about it. No error quotes a URL.
func (c *Config) Validate() error {
	if c.Wait < 0 || c.Every < 0 || c.Quiet < 0 || c.Timeout <= 0 {
		return errors.New("alerts: wait, every and quiet must not be negative, timeout must be above 0")
	}
	if len(c.Receivers) > maxReceivers {
		return fmt.Errorf("alerts: %d receivers: at most %d", len(c.Receivers), maxReceivers)
	}
	if _, err := parsePages(c.Grafana); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range c.Receivers {
		r := c.Receivers[i].withDefaults()
		if err := r.validate(); err != nil {
			return fmt.Errorf("alerts: receiver %d (%q): %w", i+1, r.Name, err)
		}
		if names[r.Name] {
			return fmt.Errorf("alerts: two receivers are called %q: give each a name of its own", r.Name)
		}
		names[r.Name] = true
	}
	return nil
}

func (r Receiver) withDefaults() Receiver {
	if r.Name == "" {
		r.Name = string(r.Kind)
	}
	if r.Severity == "" {
		r.Severity = sink.SeverityWarning
	}
	return r
}

var typeName = regexp.MustCompile(`^!?[a-z][a-z0-9_]*$`)

func (r *Receiver) validate() error {
	if wireOf(r.Kind, 0) == nil {
		return fmt.Errorf("kind %q: must be webhook, alertmanager or slack", r.Kind)
	}
	if rank[r.Severity] == 0 {
		return fmt.Errorf("severity %q: must be info, warning or error", r.Severity)
	}
	for _, t := range r.Types {
		if !typeName.MatchString(t) {
			return fmt.Errorf("types: %q is not the type of an event, like oom or !throttled", t)
		}
	}
	switch {
	case r.URL == "" && r.URLFile == "":
		return errors.New("no address: set url, or url_file where it holds a secret")
	case r.URL != "" && r.URLFile != "":
		return errors.New("url and url_file: set one of them")
	case r.CAFile != "" && r.InsecureSkipVerify:
		return errors.New("a CA file has no effect when every certificate is taken: leave one of the two out")
	case r.URL != "":
		_, err := parseURL(string(r.URL))
		return err
	}
	return nil
}

// wants says whether a is one of those that the receiver is told.
func (r *Receiver) wants(a *Alert) bool {
	if rank[a.Severity] < rank[r.Severity] || slices.Contains(r.Types, "!"+string(a.Type)) {
		return false
	}
	only := slices.ContainsFunc(r.Types, func(t string) bool { return !strings.HasPrefix(t, "!") })
	return !only || slices.Contains(r.Types, string(a.Type))
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Int64N
	}
	return c
}
