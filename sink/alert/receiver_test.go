package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/weir-probe/weir/sink"
)

// post is a receiver in memory, so that its tests have a clock of their own.
type post struct {
	mu     sync.Mutex // held while answer runs
	bodies []string
	times  []time.Duration // since the start
	start  time.Time
	answer func() (status int, header http.Header, err error) // nil: 200
}

func (p *post) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bodies, p.times = append(p.bodies, string(b)), append(p.times, time.Since(p.start))
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}
	if p.answer != nil {
		if resp.StatusCode, resp.Header, err = p.answer(); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// bed is a Manager with one receiver in memory, whose random numbers are 0.
type bed struct {
	*Manager
	*post
	stop func()
}

// start runs it until stop. It belongs into a synctest bubble.
func start(t *testing.T, to Receiver) *bed {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Host, cfg.Receivers, cfg.Rand = "one", []Receiver{to}, func(int64) int64 { return 0 }
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{Manager: m, post: &post{start: time.Now()}}
	b.receivers[0].client.Transport = b.post
	b.run(t)
	return b
}

func (b *bed) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
}

// sent are the alerts of all webhook messages, "status type server xCOUNT".
func (b *bed) sent(t *testing.T) (list []string) {
	t.Helper()
	for _, body := range b.bodies {
		var m webhookBody
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		for _, a := range m.Alerts {
			list = append(list, fmt.Sprintf("%s %s %s x%d", a.Status, a.Type, a.Server, a.Count))
		}
	}
	return list
}

var hook = Receiver{Kind: Webhook, URL: "http://hook.example/x"}

func oom(server string) *Alert {
	return &Alert{Event: sink.Event{Type: sink.EventOOM, Severity: sink.SeverityError, Server: server}}
}

func trouble(fingerprint string, over bool) *Alert {
	return &Alert{Fingerprint: fingerprint, Resolved: over, Event: sink.Event{Type: "unusual", Severity: sink.SeverityWarning, Server: fingerprint}}
}

// tell tells at the moment.
func (b *bed) tell(alerts ...*Alert) {
	for _, a := range alerts {
		b.Tell(time.Now(), a)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// What comes within Wait is one message, the worst first; the next is not sent before
// Every is over.
func TestGroupsAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		b.tell(trouble("a", false))
		time.Sleep(4 * time.Second)
		b.tell(oom("web"))
		time.Sleep(2 * time.Second)
		b.tell(oom("db"))
		time.Sleep(time.Minute)
		b.stop()
		same(t, "sent", b.sent(t), []string{"event oom web x1", "firing unusual a x1", "event oom db x1"})
		same(t, "times", b.times, []time.Duration{5 * time.Second, 35 * time.Second})
	})
}

// An event that repeats is told again after Quiet, with how often it was.
func TestRepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		for range 40 { // 400 s
			b.tell(oom("web"))
			time.Sleep(10 * time.Second)
		}
		time.Sleep(time.Minute)
		b.stop()
		same(t, "sent", b.sent(t), []string{"event oom web x1", "event oom web x31"})
		if s := b.Stats(); s.Repeated != 38 || s.Sent != 2 || s.Seen != 40 {
			t.Errorf("%+v", s)
		}
	})
}

// What goes on is told once, its end once; what changed before it was sent is sent as
// it is by then; what fires again is told again.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		b.tell(trouble("a", false), trouble("a", false), trouble("short", false))
		time.Sleep(time.Second)
		b.tell(trouble("short", true))
		time.Sleep(time.Minute)
		b.tell(trouble("a", false))
		time.Sleep(time.Minute)
		b.tell(trouble("a", true))
		time.Sleep(time.Minute)
		b.tell(trouble("a", false))
		time.Sleep(time.Minute)
		b.stop()
		same(t, "sent", b.sent(t), []string{
			"firing unusual a x2", "resolved unusual short x2", "resolved unusual a x2", "firing unusual a x1"})
		if s := b.Stats(); s.Firing != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		severity sink.Severity
		types    []string
		want     []string
	}{
		{"", nil, []string{"oom", "throttled"}},
		{"info", nil, []string{"oom", "container_start", "throttled"}},
		{"error", nil, []string{"oom"}},
		{"info", []string{"throttled"}, []string{"throttled"}},
		{"info", []string{"!throttled"}, []string{"oom", "container_start"}},
		{"error", []string{"throttled"}, nil},
	} {
		r := Receiver{Severity: c.severity, Types: c.types}.withDefaults()
		var got []string
		for _, e := range []sink.Event{
			{Type: sink.EventOOM, Severity: sink.SeverityError}, {Type: sink.EventStart, Severity: sink.SeverityInfo}, {Type: sink.EventThrottled, Severity: sink.SeverityWarning},
		} {
			if r.wants(&Alert{Event: e}) {
				got = append(got, string(e.Type))
			}
		}
		same(t, fmt.Sprint(c.severity, c.types), got, c.want)
	}
}

// The end of what was told is told, whatever its severity is by then.
func TestEndPassesFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		b.tell(trouble("a", false))
		time.Sleep(time.Minute)
		end := trouble("a", true)
		end.Severity = sink.SeverityInfo
		b.tell(end, &Alert{Fingerprint: "b", Resolved: true, Event: end.Event})
		time.Sleep(time.Minute)
		b.stop()
		same(t, "sent", b.sent(t), []string{"firing unusual a x1", "resolved unusual a x1"})
	})
}

// A receiver that is away gets what is true when it is back: no event that is older
// than an hour, whatever goes on, and no end of what it never knew to have begun.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		away := true
		b.answer = func() (int, http.Header, error) {
			if away {
				return 0, nil, errors.New("connection refused")
			}
			return 200, nil, nil
		}
		b.tell(oom("old"), trouble("on", false), trouble("over", false))
		time.Sleep(time.Second)
		b.tell(trouble("over", true))
		time.Sleep(90*time.Minute + 50*time.Millisecond) // between two tries, which are 100 ms apart
		b.tell(oom("new"))
		b.mu.Lock()
		tries := len(b.bodies)
		b.bodies, away = nil, false
		b.mu.Unlock()
		time.Sleep(3 * time.Minute)
		b.stop()
		sent := b.sent(t)
		slices.Sort(sent)
		same(t, "sent", sent, []string{"event oom new x1", "firing unusual on x1"})
		if s := b.Stats(); s.Stale != 2 || s.Retries != uint64(tries) || s.Requests != s.Retries+1 || s.Lost() != 2 {
			t.Errorf("%d tries: %+v", tries, s)
		}
	})
}

// The wait between tries grows, and is the receiver's own where it says so.
func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		name   string
		random int64 // of 10
		answer func() (int, http.Header, error)
		want   []time.Duration // between the first tries
	}{
		{"unreachable", 10, func() (int, http.Header, error) { return 0, nil, errors.New("refused") },
			[]time.Duration{1100 * time.Millisecond, 2100 * time.Millisecond, 4100 * time.Millisecond, 8100 * time.Millisecond}},
		{"jitter", 0, func() (int, http.Header, error) { return 500, nil, nil }, []time.Duration{100 * time.Millisecond, 100 * time.Millisecond}},
		{"asked to wait", 0, func() (int, http.Header, error) { return 429, http.Header{"Retry-After": {"17"}}, nil }, []time.Duration{17 * time.Second, 17 * time.Second}},
		{"asked to wait for a day", 0, func() (int, http.Header, error) { return 503, http.Header{"Retry-After": {"86400"}}, nil }, []time.Duration{10 * time.Minute}},
		{"asked to wait, not how long", 10, func() (int, http.Header, error) { return 429, nil, nil }, []time.Duration{1100 * time.Millisecond, 2100 * time.Millisecond}},
		{"wrong token", 0, func() (int, http.Header, error) { return 403, nil, nil }, []time.Duration{time.Minute}},
		{"redirect", 0, func() (int, http.Header, error) { return 301, http.Header{"Location": {"http://elsewhere"}}, nil }, []time.Duration{time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, hook)
				b.receivers[0].cfg.Rand = func(n int64) int64 { return n * c.random / 10 }
				b.answer = c.answer
				b.tell(trouble("a", false))
				time.Sleep(30 * time.Minute)
				b.stop()
				for i, want := range c.want {
					if i+1 >= len(b.times) {
						t.Fatalf("%d tries", len(b.times))
					}
					if got := b.times[i+1] - b.times[i]; got != want {
						t.Errorf("try %d came after %v, want %v", i+2, got, want)
					}
				}
				if st := b.Status()[0]; st.Error == "" || st.Waiting != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A message that is refused for good costs the alert that is at fault, not the others.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		b.answer = func() (int, http.Header, error) {
			if strings.Contains(b.bodies[len(b.bodies)-1], `"bad"`) {
				return 400, nil, nil
			}
			return 200, nil, nil
		}
		for i := range 20 {
			b.tell(oom(fmt.Sprint("c", i)))
		}
		b.tell(oom("bad"))
		time.Sleep(time.Minute)
		b.stop()
		if s := b.Stats(); s.Sent != 20 || s.Rejected != 1 || s.Waiting != 0 || s.Failing != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// However much happens, what is kept is bounded; what there is no room for is counted
// and told of.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		for i := range maxKnown + 500 {
			b.tell(oom(fmt.Sprint("c", i)))
		}
		r := b.receivers[0]
		held := func() (known, waiting int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.known), len(r.order)
		}
		if known, waiting := held(); known != maxKnown || waiting != maxKnown {
			t.Errorf("%d known, %d wait", known, waiting)
		}
		time.Sleep(time.Minute)
		if s := b.Stats(); s.Full != 500 || s.Sent != maxKnown || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		b.mu.Lock()
		first := b.bodies[0]
		b.mu.Unlock()
		if !strings.Contains(first, `"lost":500`) {
			t.Errorf("the message does not say that alerts were lost: %.100s", first)
		}
		time.Sleep(5 * time.Minute)
		b.tell(oom("new"))
		time.Sleep(time.Minute)
		if n, _ := held(); n != 1 {
			t.Errorf("%d are known still", n)
		}
		b.stop()
	})
}
