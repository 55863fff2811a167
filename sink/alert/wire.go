package alert

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/weir-probe/weir/sink"
)

// wire is how one kind of receiver is talked to. A wire has no state.
type wire interface {
	// encode makes the body of a request, JSON.
	encode(m *message) ([]byte, error)
	// endpoint is where it goes, of the address that was configured.
	endpoint(u *url.URL) *url.URL
	// perMessage is how many alerts one message may tell.
	perMessage() int
	// refreshes says that the receiver forgets what is not repeated to it, and that
	// repetition disturbs nobody.
	refreshes() bool
}

// wireOf returns the wire of a kind, nil if there is none. quiet is Config.Quiet.
func wireOf(k Kind, quiet time.Duration) wire {
	switch k {
	case Webhook:
		return webhook{}
	case Alertmanager:
		return alertmanager{quiet}
	case Slack:
		return slack{}
	}
	return nil
}

// webhook is JSON of our own.
type webhook struct{}

// webhookVersion changes when a field changes its meaning or goes.
const webhookVersion = 1

type webhookBody struct {
	Version int            `json:"version"`
	Host    string         `json:"host"`
	Sent    time.Time      `json:"sent"`
	Lost    uint64         `json:"lost"`
	Alerts  []webhookAlert `json:"alerts"`
}

type webhookAlert struct {
	Fingerprint string     `json:"fingerprint,omitempty"`
	Status      status     `json:"status"`
	Type        string     `json:"type"`
	Severity    string     `json:"severity"`
	Client      string     `json:"client,omitempty"`
	Server      string     `json:"server,omitempty"`
	Message     string     `json:"message"`
	Evidence    string     `json:"evidence"`
	ClientActor *actor     `json:"client_actor,omitempty"`
	ServerActor *actor     `json:"server_actor,omitempty"`
	Expected    *float64   `json:"expected"`
	Seen        *float64   `json:"seen"`
	Count       int        `json:"count"`
	Starts      time.Time  `json:"starts"`
	Ends        *time.Time `json:"ends"`
	Link        string     `json:"link,omitempty"`
}

// actor is who did it at one end.
type actor struct {
	Process   string `json:"process,omitempty"`
	PID       uint32 `json:"pid,omitempty"`
	User      string `json:"user,omitempty"`
	Cmdline   string `json:"cmdline,omitempty"`
	Container string `json:"container,omitempty"`
}

// actorOf is nil for nobody.
func actorOf(a *sink.Actor) *actor {
	if *a == (sink.Actor{}) {
		return nil
	}
	return &actor{a.Process, a.PID, a.User, a.Cmdline, a.Container}
}

func (webhook) endpoint(u *url.URL) *url.URL { return u }
func (webhook) perMessage() int              { return 100 }
func (webhook) refreshes() bool              { return false }

func (webhook) encode(m *message) ([]byte, error) {
	body := webhookBody{Version: webhookVersion, Host: m.host, Sent: m.now.UTC(), Lost: m.lost, Alerts: make([]webhookAlert, len(m.items))}
	for i := range m.items {
		it := &m.items[i]
		a := &body.Alerts[i]
		*a = webhookAlert{
			Fingerprint: it.Fingerprint, Status: it.Alert.status(), Type: string(it.Type), Severity: string(it.Severity),
			Client: it.Client, Server: it.Server, Message: it.Message, Evidence: it.Evidence,
			ClientActor: actorOf(&it.Actors[0]), ServerActor: actorOf(&it.Actors[1]),
			Expected: finite(it.Expected), Seen: finite(it.Seen), Count: it.count, Starts: it.began.UTC(), Link: m.link(it),
		}
		if a.Status != firing {
			t := it.changed.UTC()
			a.Ends = &t
		}
	}
	return encodeJSON(body)
}

// finite is what JSON can say of f.
func finite(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func encodeJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode alerts: %w", err)
	}
	return b, nil
}
