package setup

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
)

// Place is one of the databases or buckets.
type Place int

const (
	Raw    Place = iota // every row but flow_log, at the probe's interval
	Log                 // flow_log
	Minute              // downsampled to a minute
	Hour                // downsampled to an hour
	Places              // how many there are
)

// DefaultKeep is the retention of a place that is created without one given.
var DefaultKeep = [Places]time.Duration{Raw: 7 * day, Log: day, Minute: 30 * day, Hour: 365 * day}

const day = 24 * time.Hour

// Forever is no retention.
const Forever time.Duration = -1

// Options say what is wanted. The zero value of a field is its default.
type Options struct {
	Server influxdb.Config // an administrator of it
	// Keep is the retention that was asked for; 0 = the default for what is
	// created, and what is there keeps its own.
	Keep           [Places]time.Duration
	NoDownsampling bool
	NoAlerts       bool
	// Recompute adds up the rows of this time before now again.
	Recompute  time.Duration
	Histograms bool // the probes write distributions as bucket fields
	// NotifyURL is posted to when a check changes its level; empty: nobody is told.
	NotifyURL influxdb.Secret
	// TokenFile gets a token (1.x: user:password) that may only write, mode 0600;
	// "-" prints it to Out, "" makes none.
	TokenFile string
	User      string // of 1.x, that may only write; default weir
	// ReadTokenFile and ReadUser are the same for one that may only read, of all
	// places: for Grafana and its like. Only one of the two can be printed.
	ReadTokenFile string
	ReadUser      string // default weir_reads

	KapacitorDir string // gets TICKscripts; "" = none
	Out          io.Writer

	role role // who TokenFile and User are for, while it is planned
}

func (o *Options) validate() error {
	for p, d := range o.Keep {
		if d != 0 && d != Forever && d < time.Hour {
			return fmt.Errorf("retention %s of %s: InfluxDB keeps rows for an hour at least", d, placeSuffix[p])
		}
	}
	if o.Recompute < 0 {
		return fmt.Errorf("add up again the rows of %s: must not be negative", o.Recompute)
	}
	if o.User == "" {
		o.User = "weir"
	}
	if o.ReadUser == "" {
		o.ReadUser = "weir_reads"
	}
	for _, user := range []string{o.User, o.ReadUser} {
		if strings.Contains(user, ":") {
			return fmt.Errorf("user %q: a name cannot contain ':', which ends it in a token", user)
		}
	}
	if o.User == o.ReadUser {
		return fmt.Errorf("user %q: the one that writes and the one that reads are two", o.User)
	}
	if o.TokenFile != "" && o.TokenFile == o.ReadTokenFile {
		return fmt.Errorf("both tokens cannot go to %q: name two files", o.TokenFile)
	}
	if o.NotifyURL != "" {
		u, err := url.Parse(string(o.NotifyURL))
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("the URL for notifications cannot be understood; write it like https://alerts.example/hook")
		}
	}
	return nil
}

var placeSuffix = [Places]string{Raw: "raw rows", Log: "flow_log", Minute: "1m", Hour: "1h"}

// place is a database or bucket that is wanted.
type place struct {
	name   string
	policy string        // 1.x: retention policy; "" = the default one
	keep   time.Duration // 0 = for ever
	asked  bool          // keep was given, not the default
	holds  string
}

// places are all of them, by what they are.
type places [Places]place

// places names the four; those of downsampling are called after the raw one.
func (o *Options) places(db *influxdb.Sink) places {
	var all places
	all[Raw].name, all[Raw].policy = db.Destination(sink.Main)
	all[Log].name, all[Log].policy = db.Destination(sink.Log)
	all[Minute].name, all[Hour].name = all[Raw].name+"_1m", all[Raw].name+"_1h"
	for p, holds := range [Places]string{
		"rows at the probe's interval", "flow_log, one row per connection", "rows per minute", "rows per hour",
	} {
		all[p].holds = holds
		all[p].keep, all[p].asked = o.Keep[p], o.Keep[p] != 0
		switch o.Keep[p] {
		case 0:
			all[p].keep = DefaultKeep[p]
		case Forever:
			all[p].keep = 0
		}
	}
	return all
}

// buckets are the places of 2.x, where a slash is part of a name.
func (all places) buckets() places {
	for _, p := range []Place{Raw, Log} {
		if all[p].policy != "" {
			all[p].name, all[p].policy = all[p].name+"/"+all[p].policy, ""
		}
	}
	all[Minute].name, all[Hour].name = all[Raw].name+"_1m", all[Raw].name+"_1h"
	return all
}

// wanted says whether a place is.
func (o *Options) wanted(p Place) bool { return p < Minute || !o.NoDownsampling }

// days writes a retention as people do: 7d, 24h, for ever.
func days(d time.Duration) string {
	switch {
	case d == 0:
		return "for ever"
	case d > day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// retention adds the step for a place that is there with a retention of has.
func (p *place) retention(kind string, has time.Duration, change Step) Step {
	change.Kind, change.Name = kind, p.name
	switch {
	case has == p.keep:
		change.Action, change.apply = Keep, nil
		change.Detail = "keeps " + days(has)
	case !p.asked:
		change.Action, change.apply = Keep, nil
		change.Detail = fmt.Sprintf("keeps %s (not asked to change; new ones keep %s)", days(has), days(p.keep))
	default:
		change.Action = Change
		change.Detail = fmt.Sprintf("keeps %s → %s", days(has), days(p.keep))
	}
	return change
}
