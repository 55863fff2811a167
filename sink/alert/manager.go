package alert

import (
	"context"
	"sync"
	"time"
)

// Manager tells every receiver what it wants to know. Tell, Stats and Run may be called
// at the same time; Reconfigure not while Run runs.
type Manager struct {
	receivers []*receiver
}

// New returns a Manager of a valid configuration; nothing is sent before Run.
func New(cfg Config) (*Manager, error) {
	m := new(Manager)
	return m, m.Reconfigure(cfg)
}

// Reconfigure makes m what cfg asks for. A receiver of a name and kind that there was
// keeps what it knows and what waits. With an error m is as it was.
func (m *Manager) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	list := make([]*receiver, len(cfg.Receivers))
	for i := range cfg.Receivers {
		r, err := newReceiver(&cfg, cfg.Receivers[i].withDefaults())
		if err != nil {
			return err
		}
		list[i] = r
	}
	for _, r := range list {
		for _, old := range m.receivers {
			if old.to.Name == r.to.Name && old.to.Kind == r.to.Kind {
				r.inherit(old)
			}
		}
	}
	m.Close()
	m.receivers = list
	return nil
}

// Receivers is how many there are.
func (m *Manager) Receivers() int { return len(m.receivers) }

// Tell has a, which began, happened or ended at t, told to those who want to know. It
// never waits; what there is no room for is counted.
func (m *Manager) Tell(t time.Time, a *Alert) {
	if len(m.receivers) == 0 {
		return
	}
	clean := a.cleaned()
	for _, r := range m.receivers {
		r.take(t, &clean)
	}
}

// GoOn says what all goes on now, told in an earlier run or under an earlier
// configuration: a receiver that forgets is told of it again, nobody else is. What a
// receiver believes to go on and is not among it is over. Run must not run.
func (m *Manager) GoOn(now time.Time, list []Alert) {
	for i := range list {
		list[i] = list[i].cleaned()
	}
	for _, r := range m.receivers {
		r.goOn(now, list)
	}
}

// Run sends until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	m.each(func(r *receiver) { r.run(ctx) })
	return nil
}

// Drain sends what waits, for the end of the program: Run must have returned. What
// cannot be sent at once or before ctx ends is lost, and logged.
func (m *Manager) Drain(ctx context.Context) error {
	m.each(func(r *receiver) { r.drain(ctx) })
	return nil
}

func (m *Manager) each(f func(*receiver)) {
	var wg sync.WaitGroup
	for _, r := range m.receivers {
		wg.Go(func() { f(r) })
	}
	wg.Wait()
}

// Close gives up the connections that are kept.
func (m *Manager) Close() {
	for _, r := range m.receivers {
		r.client.CloseIdleConnections()
	}
}

// Stats counts since the Manager was made; those marked gauge are of now.
type Stats struct {
	Seen      uint64 // alerts offered to receivers, once for each
	Filtered  uint64 // of those: not wanted
	Repeated  uint64 // of those: known already
	Sent      uint64 // alerts that were accepted
	Bytes     uint64 // of bodies that were accepted
	Requests  uint64
	Retries   uint64 // requests that failed and are made again
	Throttled uint64 // of those: the receiver asked to wait
	Rejected  uint64 // alerts that were refused for good
	Stale     uint64 // given up: they waited for more than an hour
	Full      uint64 // lost: too many
	Waiting   int    // gauge: to be sent
	Firing    int    // gauge: go on, as far as the receivers know
	Oldest    time.Time
	Failing   int // gauge: receivers that cannot be reached
}

// Lost alerts, for all reasons.
func (s *Stats) Lost() uint64 { return s.Rejected + s.Stale + s.Full }

// Stats of all receivers.
func (m *Manager) Stats() Stats {
	var sum Stats
	for _, r := range m.receivers {
		r.addTo(&sum)
	}
	return sum
}

// Status is one receiver's, for people: no secret is in it.
type Status struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	To      string `json:"to"`
	Waiting int    `json:"waiting"`
	Error   string `json:"error,omitempty"` // of the trouble it is in
}

// Status of every receiver.
func (m *Manager) Status() []Status {
	list := make([]Status, len(m.receivers))
	for i, r := range m.receivers {
		list[i] = r.status()
	}
	return list
}
