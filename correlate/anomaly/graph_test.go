package anomaly

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

const day = 24 * time.Hour

var (
	web  = inService("shop/web", "web:1")
	api  = inService("shop/api", "api:1")
	db   = inService("shop/db", "postgres:17")
	pay  = inService("shop/pay", "pay:1")
	mail = elsewhere("smtp.example.com", "192.0.2.25")
)

// usual is what goes on every minute.
func usual(time.Time) []*correlate.Record {
	return []*correlate.Record{talk(web, api, 8080, 2000, 30000), talk(api, db, 5432, 5000, 90000), talk(api, mail, 587, 3000, 500), talk(pay, db, 5432, 500, 900)}
}

func with(more func(now time.Time) []*correlate.Record) func(time.Time) []*correlate.Record {
	return func(now time.Time) []*correlate.Record { return append(usual(now), more(now)...) }
}

func learnt(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := newRig(t, cfg)
	if as := r.run(day+time.Hour, usual); len(as) != 0 {
		t.Fatalf("told while learning: %s", types(as))
	}
	return r
}

func TestNewEdge(t *testing.T) {
	r := learnt(t, Config{})
	as := r.run(3*time.Hour, with(func(time.Time) []*correlate.Record { return []*correlate.Record{talk(web, db, 5432, 100, 100)} }))
	r.want(as, "new_edge")
	a := as[0]
	if a.Client.Name != "shop/web" || a.Server.Name != "shop/db" || a.Port != 5432 || a.Client.Process != "web" || len(a.ID()) != 16 {
		t.Errorf("%+v", a)
	}
	if strings.ContainsRune(a.Client.Cmdline, 0x1b) || !strings.Contains(a.Client.Cmdline, `\x1b[31m`) {
		t.Errorf("command line %q is not escaped", a.Client.Cmdline)
	}
	if last := as[len(as)-1]; last.State != Resolved || last.Fingerprint != a.Fingerprint {
		t.Errorf("it does not end: %+v", last)
	}
	// The same on another run, and of nobody else.
	r2 := learnt(t, Config{})
	b := r2.run(time.Minute, with(func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(web, db, 5432, 7, 8), talk(pay, api, 8080, 7, 8)}
	}))
	r2.want(b, "new_edge new_edge")
	if b[0].Fingerprint != a.Fingerprint || b[1].Fingerprint == a.Fingerprint {
		t.Errorf("%s, then %s and %s", a.ID(), b[0].ID(), b[1].ID())
	}
}

// What goes on between two ends is told with both the beginning and the end, however
// many of a type overlap.
func TestOngoing(t *testing.T) {
	r := learnt(t, Config{})
	began := r.now
	as := r.run(3*time.Hour, with(func(now time.Time) []*correlate.Record {
		records := []*correlate.Record{talk(web, db, 5432, 100, 100)}
		if now.Sub(began) > 10*time.Minute {
			records = append(records, talk(web, db, 5433, 100, 100), talk(pay, api, 8080, 7, 8))
		}
		return records
	}))
	var got []string
	for _, a := range as {
		if a.Client.Name == "shop/web" {
			got = append(got, fmt.Sprint(a.State, " ", a.Port, " ", a.Ongoing))
		}
	}
	if want := "active 5432 1, active 5433 2, resolved 5432 1, resolved 5433 0"; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

// What is seen in the very first interval is known as long as everything else.
func TestFirstInterval(t *testing.T) {
	d := New(Config{})
	d.Add(talk(web, db, 5432, 100, 100))
	for i := range 30 {
		d.Tick(start.Add(time.Duration(i) * time.Minute))
	}
	if s := d.Stats(); s.Edges != 1 || s.Forgotten != 0 {
		t.Errorf("%d edges, %d forgotten", s.Edges, s.Forgotten)
	}
}

// A port that the kernel chose is no service of its own.
func TestEphemeralPorts(t *testing.T) {
	r := learnt(t, Config{})
	port := uint16(33000)
	r.want(r.run(5*time.Minute, with(func(time.Time) []*correlate.Record {
		port += 10
		return []*correlate.Record{talk(web, db, port, 100, 100), talk(web, db, port+1, 100, 100)}
	})), "new_edge")
}

// What is no new edge: a replica, a guess at who is the client, an attempt, what a
// service says to itself.
func TestNoNewEdge(t *testing.T) {
	r := learnt(t, Config{})
	r.want(r.run(time.Hour, with(func(time.Time) []*correlate.Record {
		guess := talk(db, web, 49152, 100, 100)
		guess.Initiator = correlate.InitiatorUnknown
		return []*correlate.Record{talk(replica("shop/web", "web:1", 2), api, 8080, 100, 100), guess, refusal(web, db, 5433), talk(api, api, 7946, 100, 100)}
	})), "")
	if s := r.d.Stats(); s.Guessed == 0 {
		t.Errorf("%+v", s)
	}
}

func TestNewDestination(t *testing.T) {
	r := learnt(t, Config{})
	as := r.run(9*time.Minute, with(func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(api, elsewhere("cdn7.evil.example", "198.51.100.7"), 443, 100, 100), talk(api, elsewhere("", "203.0.113.9"), 443, 10, 10)}
	}))
	r.want(as, "new_destination new_destination")
	if as[0].Server.Name != "evil.example" || as[1].Server.Name != "203.0.113.0/24" {
		t.Errorf("%q and %q", as[0].Server.Name, as[1].Server.Name)
	}
	// Another host of the same name or network is none.
	r.want(r.run(time.Minute, with(func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(api, elsewhere("cdn9.evil.example", "198.51.77.7"), 443, 100, 100), talk(api, elsewhere("", "203.0.113.77"), 443, 10, 10)}
	})), "")
}

// A name that is lost, or came late, is no new place.
func TestNamesComeAndGo(t *testing.T) {
	r := learnt(t, Config{})
	r.want(r.run(time.Hour, func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(web, api, 8080, 2000, 30000), talk(api, db, 5432, 5000, 90000), talk(api, elsewhere("", "192.0.2.25"), 587, 3000, 500), talk(pay, db, 5432, 500, 900)}
	}), "")
	// A place that was learnt before it had a name.
	bare := func(name string) func(time.Time) []*correlate.Record {
		return with(func(time.Time) []*correlate.Record {
			return []*correlate.Record{talk(pay, elsewhere(name, "198.51.100.80"), 443, 300, 300)}
		})
	}
	r = newRig(t, Config{})
	r.run(26*time.Hour, bare(""))
	r.want(r.run(time.Hour, bare("bank.example")), "")
	r.want(r.run(time.Minute, bare("thief.example")), "new_destination")
}

// Who finds new places all day is not worth a word each time: that is its work.
func TestCrawler(t *testing.T) {
	crawler := inService("shop/crawler", "crawler:1")
	r := newRig(t, Config{})
	i := 0
	crawl := with(func(now time.Time) []*correlate.Record {
		if now.Minute()%30 != 0 {
			return nil
		}
		i++
		return []*correlate.Record{talk(crawler, elsewhere(fmt.Sprintf("www.site%d.example", i), fmt.Sprintf("198.18.%d.1", i)), 443, 900, 90000)}
	})
	r.want(r.run(3*day, crawl), "")
	// but that somebody else does it, is.
	r.want(r.run(time.Minute, with(func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(db, elsewhere("www.site1.example", "198.18.1.1"), 443, 900, 9000)}
	})), "new_destination")
}

// A deployment brings new edges without a word, and a new service one.
func TestDeployment(t *testing.T) {
	r := learnt(t, Config{})
	api2 := inService("shop/api", "api:2")
	cache := inService("shop/cache", "redis:8")
	deployed := func(time.Time) []*correlate.Record {
		return []*correlate.Record{
			talk(web, api2, 8080, 8000, 300000), talk(api2, db, 5432, 5000, 90000), talk(api2, mail, 587, 3000, 500), talk(pay, db, 5432, 500, 900),
			talk(api2, cache, 6379, 500, 900), talk(api2, elsewhere("telemetry.example.org", "198.51.100.9"), 443, 900, 100),
		}
	}
	as := r.run(day, deployed)
	r.want(as, "new_service")
	if as[0].Server.Name != "shop/cache" || as[0].Evidence != "image=redis:8 first_client=shop/api first_server=shop/cache first_service=tcp/6379" {
		t.Errorf("%+v", as[0])
	}
	if s := r.d.Stats(); s.Deployed != 1 {
		t.Errorf("%d deployments", s.Deployed)
	}
	// The same edge an hour later, from nowhere, is told.
	r.want(r.run(time.Hour, func(now time.Time) []*correlate.Record {
		return append(deployed(now), talk(pay, cache, 6379, 1, 1))
	}), "new_edge")
}

// A new service that starts before what it needs is one all the same; one that tries many
// things first is not left alone.
func TestDeploymentBeforeItsServer(t *testing.T) {
	for _, c := range []struct {
		tried uint16
		want  string
	}{{1, "new_service"}, {20, "new_edge"}} {
		r := learnt(t, Config{})
		late := inService("shop/late", "late:1")
		r.want(r.run(3*time.Minute, with(func(time.Time) (rs []*correlate.Record) {
			for i := range c.tried {
				rs = append(rs, refusal(late, db, 5432+i))
			}
			return rs
		})), "")
		r.want(r.run(time.Minute, with(func(time.Time) []*correlate.Record {
			return []*correlate.Record{talk(late, late, 8080, 10, 10), talk(late, db, 5432, 500, 900)} // it asks itself whether it is well
		})), c.want)
	}
}

func TestSilences(t *testing.T) {
	r := learnt(t, Config{Silences: []Silence{{Type: "new_edge", Client: "shop/*", Server: "*/db", Until: start.Add(30 * time.Hour).Format(time.RFC3339)}}})
	r.want(r.run(time.Hour, with(func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(web, db, 5432, 1, 1), talk(pay, api, 8080, 1, 1)}
	})), "new_edge")
	if s := r.d.Stats(); s.Silenced != 1 || s.ToldTotal() != 1 {
		t.Errorf("%+v", s)
	}
	r.run(5*time.Hour, usual)
	r.want(r.run(time.Hour, with(func(time.Time) []*correlate.Record { return []*correlate.Record{talk(web, db, 5433, 1, 1)} })), "new_edge")
}

// A silence, or the type switched off, for what goes on: whoever was told of it is told that
// it is over, and hears no more of it. What was silent all along is over in silence.
func TestSilenceForWhatGoesOn(t *testing.T) {
	for _, cfg := range []Config{{Silences: []Silence{{Client: "shop/web"}}}, {Off: []string{"new_edge"}}} {
		r := learnt(t, Config{Silences: []Silence{{Client: "shop/pay"}}})
		both := with(func(time.Time) []*correlate.Record {
			return []*correlate.Record{talk(web, db, 5432, 1, 1), talk(pay, api, 8080, 1, 1)}
		})
		as := r.run(time.Minute, both)
		r.want(as, "new_edge")
		if on := r.d.Ongoing(); len(on) != 1 || on[0].Fingerprint != as[0].Fingerprint {
			t.Fatalf("%+v go on", on)
		}
		r.d.Reconfigure(cfg)
		over := r.run(30*time.Minute, both)
		if len(over) != 1 || over[0].State != Resolved || over[0].Fingerprint != as[0].Fingerprint || over[0].Ongoing != 0 {
			t.Errorf("%+v: told %+v", cfg, over)
		}
		r.want(r.run(2*time.Hour, usual), "")
		if s := r.d.Stats(); s.Resolved != 1 || s.Alarms != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "x", true}, {"x", "x", true}, {"x", "xy", false}, {"*", "", true}, {"a*", "a/b", true}, {"*b", "a/b", true}, {"a*c*e", "abcde", true},
		{"a*c*e", "abcd", false}, {"a*a", "a", false}, {"*x*", "axb", true}, {"*x*", "ab", false},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

// Another host of the fleet is somebody to talk to: what is learnt of it is known after a
// restart, what is new is told, and it has no owner that could be missing.
func TestFleet(t *testing.T) {
	on := func(address string) correlate.Endpoint {
		return correlate.Endpoint{Addr: addr(address), Kind: correlate.KindRemote, Name: "remote"}
	}
	talks := func(r *rig, c, s correlate.Endpoint, port uint16) []Anomaly {
		return r.run(30*time.Minute, with(func(time.Time) (list []*correlate.Record) {
			for range 40 {
				list = append(list, talk(c, s, port, 2000, 3000))
			}
			return list
		}))
	}
	r := newRig(t, Config{Learn: time.Hour})
	r.want(append(talks(r, web, on("10.9.1.1"), 5432), talks(r, web, on("10.9.1.1"), 5432)...), "")
	r.want(talks(r, web, on("10.9.1.2"), 5432), "") // of the same network
	d, err := Restore(Config{Learn: time.Hour}, r.d.AppendState(nil), r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.d = d
	r.want(talks(r, web, on("10.9.1.3"), 5432), "")
	as := talks(r, web, on("10.9.1.1"), 6379)
	r.want(as, "new_edge")
	if a := as[0]; a.Server.Name != "10.9.1.0/24" || a.Port != 6379 {
		t.Errorf("%+v", a)
	}
	r.want(talks(r, on("10.9.7.7"), api, 8080), "new_edge")
	r.want(r.run(5*time.Minute, with(func(now time.Time) (list []*correlate.Record) {
		for i := range 8 { // many hosts, each a few
			list = append(list, refusal(on(fmt.Sprintf("10.9.1.%d", 10+i)), web, uint16(1000*i)+uint16(now.Minute())))
		}
		return list
	})), "")
}
