package setup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/influxdb/rules"
	"github.com/weir-probe/weir/test/influxd"
)

// bed is a server with nothing of ours on it: the rows of these tests go to net.
type bed struct {
	*influxd.Server
	t *testing.T
	o Options
}

func newBed(t *testing.T, s *influxd.Server) *bed {
	return &bed{s, t, Options{
		Server: influxdb.Config{URL: s.URL, Org: s.Org, Token: influxdb.Secret(s.Token), Bucket: "net"},
		Out:    &bytes.Buffer{},
	}}
}

// each runs a test on every version that is here.
func each(t *testing.T, test func(t *testing.T, b *bed)) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, newBed(t, influxd.Start(t, version)))
		})
	}
}

func (b *bed) plan() *Plan {
	b.t.Helper()
	p, err := New(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bed) apply() *Plan {
	b.t.Helper()
	p := b.plan()
	if err := p.Apply(b.t.Context(), func(Step) {}); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// steps are those that change something, as text.
func steps(p *Plan) []string {
	var list []string
	for _, s := range p.Steps {
		if s.apply != nil {
			list = append(list, fmt.Sprintf("%s %s %s: %s", s.Action, s.Kind, s.Name, s.Detail))
		}
	}
	return list
}

// admin talks to the server as its administrator.
func (b *bed) admin() *server {
	b.t.Helper()
	return b.as(string(b.o.Server.Token))
}

func (b *bed) as(token string) *server {
	b.t.Helper()
	cfg := b.o.Server
	cfg.Token = influxdb.Secret(token)
	db, err := influxdb.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return &server{db, db.ServerURL()}
}

// has says which names a server lists at a path of the v2 API.
func (b *bed) has(path, key, name string) []string {
	b.t.Helper()
	var answer map[string]json.RawMessage
	if err := b.admin().call(b.t.Context(), "GET", "api/v2/"+path, nil, &answer); err != nil {
		b.t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(answer[key], &list); err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, o := range list {
		names = append(names, fmt.Sprint(o[name]))
	}
	slices.Sort(names)
	return names
}

func TestAFreshServerGetsEverythingOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		first := b.plan()
		b.nothingThere() // a plan, and so a dry run, changes nothing
		if err := first.Apply(t.Context(), func(Step) {}); err != nil {
			t.Fatal(err)
		}
		if first.Count(Create) != first.Changes() || first.Changes() < 14 {
			t.Errorf("%d steps on a fresh server, not all of them to create: %q", first.Changes(), steps(first))
		}
		b.everythingThere()
		again := b.plan()
		if got := steps(again); got != nil {
			t.Errorf("a second run changes %q", got)
		}
		if again.Count(Keep) != first.Changes() {
			t.Errorf("a second run finds %d of %d", again.Count(Keep), first.Changes())
		}
		b.o.Keep[Minute] = 14 * day
		want := []string{map[bool]string{true: "change database", false: "change bucket"}[b.V1()] + " net_1m: keeps 30d → 14d"}
		if got := steps(b.apply()); !slices.Equal(got, want) {
			t.Errorf("with another retention: %q, want %q", got, want)
		}
		if got := b.retention("net_1m"); got != 14*day {
			t.Errorf("net_1m keeps %s", got)
		}
		b.o.Keep[Minute] = 0
		if got := steps(b.plan()); got != nil {
			t.Errorf("a retention that was not asked for is changed: %q", got)
		}
	})
}

var wantedBuckets = []string{"net", "net_1h", "net_1m", "net_log"}

func (b *bed) nothingThere() {
	b.t.Helper()
	for _, name := range b.databases() {
		if slices.Contains(wantedBuckets, name) {
			b.t.Errorf("the plan made %s", name)
		}
	}
	if b.V1() {
		if rows := b.QueryInfluxQL(b.t, "", "SHOW CONTINUOUS QUERIES"); len(rows) > 0 {
			b.t.Errorf("the plan made %v", rows)
		}
		return
	}
	for _, path := range []string{"tasks", "checks?orgID=" + b.orgID()} {
		key, _, _ := strings.Cut(path, "?")
		if got := b.has(path, key, "name"); len(got) > 0 {
			b.t.Errorf("the plan made %s %v", key, got)
		}
	}
}

func (b *bed) databases() []string {
	b.t.Helper()
	if !b.V1() {
		return b.has("buckets?limit=100", "buckets", "name")
	}
	var names []string
	for _, r := range b.QueryInfluxQL(b.t, "", "SHOW DATABASES") {
		names = append(names, fmt.Sprint(r.Values["name"]))
	}
	return names
}

func (b *bed) orgID() string {
	b.t.Helper()
	return b.has("orgs?org="+b.Org, "orgs", "id")[0]
}

func (b *bed) everythingThere() {
	b.t.Helper()
	for _, name := range wantedBuckets {
		if !slices.Contains(b.databases(), name) {
			b.t.Errorf("%s is not there", name)
		}
	}
	for name, want := range map[string]time.Duration{"net": 7 * day, "net_log": day, "net_1m": 30 * day, "net_1h": 365 * day} {
		if got := b.retention(name); got != want {
			b.t.Errorf("%s keeps %s, want %s", name, got, want)
		}
	}
	if b.V1() {
		if n := len(b.QueryInfluxQL(b.t, "", "SHOW CONTINUOUS QUERIES")); n != 2*(len(downsampled)+1) {
			b.t.Errorf("%d continuous queries", n)
		}
		return
	}
	if n := len(b.has("tasks?limit=500", "tasks", "name")); n != 2*len(downsampled) {
		b.t.Errorf("%d tasks", n)
	}
	if n := len(b.has("checks?limit=100&orgID="+b.orgID(), "checks", "name")); n != len(rules.All())+1 {
		b.t.Errorf("%d checks", n)
	}
	mapped := b.has("dbrps?orgID="+b.orgID(), "content", "database")
	for _, name := range wantedBuckets {
		if !slices.Contains(mapped, name) {
			b.t.Errorf("%s has no mapping", name)
		}
	}
}

func (b *bed) retention(name string) time.Duration {
	b.t.Helper()
	if b.V1() {
		for _, r := range b.QueryInfluxQL(b.t, "", "SHOW RETENTION POLICIES ON "+ident(name)) {
			if r.Values["default"] == true {
				d, _ := time.ParseDuration(fmt.Sprint(r.Values["duration"]))
				return d
			}
		}
		return -1
	}
	var list struct {
		Buckets []struct {
			RetentionRules []struct{ EverySeconds int64 }
		}
	}
	if err := b.admin().call(b.t.Context(), "GET", "api/v2/buckets?name="+name, nil, &list); err != nil {
		b.t.Fatal(err)
	}
	if len(list.Buckets) != 1 || len(list.Buckets[0].RetentionRules) == 0 {
		return 0
	}
	return time.Duration(list.Buckets[0].RetentionRules[0].EverySeconds) * time.Second
}

// write sends lines to a bucket as whom a token says.
func (b *bed) write(s *server, bucket string, lines ...string) error {
	req, err := http.NewRequestWithContext(b.t.Context(), "POST", s.url+"api/v2/write?precision=ns&bucket="+bucket+"&org="+b.Org,
		strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := s.db.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// TestBucketWithASlash: on 2.x that is a name, and for InfluxQL a database and a
// retention policy.
func TestBucketWithASlash(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.Start(t, influxd.V2))
	b.o.Server.Bucket, b.o.NoAlerts = "my/raw", true
	b.apply()
	if err := b.write(b.admin(), "my/raw", "flow,host=a opened=1i"); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`count("opened") FROM "flow"`, `count("opened") FROM "my"."raw"."flow"`} {
		if got := b.value("my", q); got != 1 {
			t.Errorf("%s: %v", q, got)
		}
	}
	if got := steps(b.plan()); got != nil {
		t.Errorf("a second run changes %q", got)
	}
	for _, name := range []string{"my/raw", "my_log", "my/raw_1m", "my/raw_1h"} {
		if !slices.Contains(b.databases(), name) {
			t.Errorf("%s is not there", name)
		}
	}
}

// TestForeignObjectsAreLeftAlone: a bucket with another retention, a task and a
// check of somebody else, and objects of ours for another bucket.
func TestForeignObjectsAreLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		other := *b
		other.o.Server.Bucket = "other"
		other.apply()
		if b.V1() {
			b.QueryInfluxQL(t, "", `CREATE DATABASE "net" WITH DURATION 90d`)
			b.QueryInfluxQL(t, "", `CREATE CONTINUOUS QUERY "theirs" ON "net" BEGIN SELECT sum("a") INTO "x" FROM "y" GROUP BY time(1h) END`)
		} else {
			s, ctx := b.admin(), t.Context()
			for path, in := range map[string]body{
				"buckets": {"name": "net", "retentionRules": []body{{"type": "expire", "everySeconds": 90 * 86400}}},
				"tasks":   {"flux": "option task = {name: \"net_1m flow\", every: 1h}\nfrom(bucket: \"net\") |> range(start: -1h)", "description": "theirs"},
			} {
				if err := s.call(ctx, "POST", "api/v2/"+path, in.with("orgID", b.orgID()), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		p := b.apply()
		if p.Count(Change) > 0 || p.Count(Remove) > 0 {
			t.Errorf("changes what is not ours: %q", steps(p))
		}
		if got := b.retention("net"); got != 90*day {
			t.Errorf("net keeps %s now", got)
		}
		if b.V1() {
			rows := b.QueryInfluxQL(t, "", "SHOW CONTINUOUS QUERIES")
			if n := slices.IndexFunc(rows, func(r influxd.Row) bool { return r.Values["name"] == "theirs" }); n < 0 {
				t.Error("a continuous query of somebody else is gone")
			}
		} else if got := b.has("tasks?limit=500", "tasks", "description"); !slices.Contains(got, "theirs") {
			t.Error("a task of somebody else is gone")
		}
		if got := steps(other.plan()); got != nil {
			t.Errorf("what is for another bucket has changed: %q", got)
		}
	})
}

// TestAnUpgradeMigrates: what an older Weir made differently is changed, what it
// made and is not wanted any more goes, what a newer one made stays.
func TestAnUpgradeMigrates(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.apply()
		old := mark{Version, "net", "00000000"}
		newer := mark{Version + 1, "net", "00000000"}
		if b.V1() {
			rows := b.QueryInfluxQL(t, "", "SHOW CONTINUOUS QUERIES")
			for _, name := range []string{"net_1m flow", "net_1m l7"} {
				i := slices.IndexFunc(rows, func(r influxd.Row) bool { return strings.HasPrefix(fmt.Sprint(r.Values["name"]), name+" [") })
				b.QueryInfluxQL(t, "", "DROP CONTINUOUS QUERY "+ident(fmt.Sprint(rows[i].Values["name"]))+" ON net")
			}
			for _, name := range []string{"net_1m flow " + old.String(), "net_1m gone " + old.String(), "net_1m l7 " + newer.String()} {
				b.QueryInfluxQL(t, "", `CREATE CONTINUOUS QUERY `+ident(name)+` ON "net" BEGIN SELECT sum("a") INTO "x" FROM "y" GROUP BY time(1h) END`)
			}
		} else {
			b.ageTask("net_1m flow", old)
			b.ageTask("net_1m l7", newer)
			flux := "option task = {name: \"net_1m gone\", every: 1h}\nfrom(bucket: \"net\") |> range(start: -1h)"
			if err := b.admin().call(t.Context(), "POST", "api/v2/tasks", body{"flux": flux, "orgID": b.orgID(), "description": "x. " + old.String()}, nil); err != nil {
				t.Fatal(err)
			}
		}
		p := b.apply()
		if p.Count(Change) != 1 || p.Count(Remove) != 1 || p.Count(Create) != 0 {
			t.Errorf("want one change and one removal: %q", steps(p))
		}
		if !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Action == Note && strings.Contains(s.Detail, "newer Weir") }) {
			t.Error("nothing is said of what a newer Weir made")
		}
		if got := steps(b.plan()); got != nil {
			t.Errorf("then another run changes %q", got)
		}
	})
}

func (b *bed) ageTask(name string, m mark) {
	b.t.Helper()
	var list struct {
		Tasks []struct{ ID, Name, Flux string }
	}
	s := b.admin()
	if err := s.call(b.t.Context(), "GET", "api/v2/tasks?limit=500", nil, &list); err != nil {
		b.t.Fatal(err)
	}
	for _, task := range list.Tasks {
		if task.Name == name {
			if err := s.call(b.t.Context(), "PATCH", "api/v2/tasks/"+task.ID, body{"flux": task.Flux, "description": "x. " + m.String()}, nil); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
	b.t.Fatalf("there is no task %s", name)
}

// TestWriteToken: it may write rows to the two places, and nothing else.
func TestWriteToken(t *testing.T) {
	test := func(t *testing.T, b *bed) {
		b.o.TokenFile = filepath.Join(t.TempDir(), "token")
		b.apply()
		st, err := os.Stat(b.o.TokenFile)
		if err != nil || st.Mode() != 0o600 {
			t.Fatalf("%v, %v", st, err)
		}
		mine := b.as(token(b.o.TokenFile))
		for _, bucket := range []string{"net", "net_log"} {
			if err := b.write(mine, bucket, "flow,host=a opened=1i"); err != nil {
				t.Errorf("write to %s: %v", bucket, err)
			}
		}
		for _, f := range mine.db.Check(t.Context()) { // as weir doctor and weir run do
			if f.Problem {
				t.Errorf("a probe with it finds %+v", f)
			}
		}
		if b.V1() {
			b.refuses1(mine)
		} else {
			b.refuses2(mine)
		}
		if got := steps(b.plan()); got != nil {
			t.Errorf("a second run changes %q", got)
		}
		kept := token(b.o.TokenFile)
		if err := os.Remove(b.o.TokenFile); err != nil {
			t.Fatal(err)
		}
		again := b.apply()
		if b.V1() && again.Count(Note) == 0 {
			t.Errorf("nothing is said of a password that cannot be read: %v", again.Steps)
		} else if !b.V1() && token(b.o.TokenFile) != kept {
			t.Error("the token is another one now")
		}
		if err := os.WriteFile(b.o.TokenFile, []byte("somebody's\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), b.o); !b.V1() && (err == nil || !strings.Contains(err.Error(), "holds something else")) {
			t.Errorf("a file with something else: %v", err)
		}
	}
	t.Run(influxd.V1, func(t *testing.T) { test(t, newBed(t, influxd.StartWithUsers(t, influxd.V1))) })
	t.Run(influxd.V2, func(t *testing.T) { test(t, newBed(t, influxd.Start(t, influxd.V2))) })
}

func (b *bed) refuses1(mine *server) {
	b.t.Helper()
	p := &planner1{server: *mine}
	for _, q := range []string{
		`SELECT * FROM "net"."autogen"."flow"`, `DROP DATABASE "net"`, `CREATE DATABASE "x"`, `DROP SERIES FROM "net"."autogen"."flow"`,
		`CREATE USER "x" WITH PASSWORD 'y'`,
	} {
		if rows, err := p.query(b.t.Context(), q); err == nil {
			b.t.Errorf("%s is allowed: %v", q, rows)
		}
	}
	for _, bucket := range []string{"net_1m", "other"} {
		if b.write(mine, bucket, "flow,host=a opened=1i") == nil {
			b.t.Errorf("may write to %s", bucket)
		}
	}
}

func (b *bed) refuses2(mine *server) {
	b.t.Helper()
	ctx := b.t.Context()
	if rows, err := (&planner1{server: *mine}).query(ctx, `SELECT * FROM "net"."autogen"."flow"`); err == nil && len(rows) > 0 {
		b.t.Errorf("may read: %v", rows)
	}
	flux := body{"query": `from(bucket: "net") |> range(start: -1h)`, "dialect": body{}}
	if err := mine.call(ctx, "POST", "api/v2/query?org="+b.Org, flux, nil); err == nil {
		b.t.Error("may read in Flux")
	}
	org := b.orgID()
	for path, in := range map[string]body{
		"buckets":                          {"name": "x", "orgID": org},
		"authorizations":                   {"orgID": org, "permissions": []body{{"action": "read", "resource": body{"type": "buckets", "orgID": org}}}},
		"tasks":                            {"orgID": org, "flux": "option task = {name: \"x\", every: 1h}\nfrom(bucket: \"net\") |> range(start: -1h)"},
		"write?bucket=net_1m&org=" + b.Org: {},
	} {
		if err := mine.call(ctx, "POST", "api/v2/"+path, in, nil); status(err) != 401 && status(err) != 403 && status(err) != 404 && !strings.Contains(fmt.Sprint(err), "unauthorized") {
			b.t.Errorf("POST %s: %v", path, err)
		}
	}
	// InfluxDB 2 has no permission that lets one write to a bucket and not delete
	// it or its rows (docs/setup.md says so); it does not reach any other bucket.
	for _, name := range []string{"net_1m", "net_1h", influxd.Bucket} {
		if got := b.has("buckets?name="+name, "buckets", "id"); mine.call(ctx, "DELETE", "api/v2/buckets/"+got[0], nil, nil) == nil {
			b.t.Errorf("may delete bucket %s", name)
		}
	}
}

// TestErrorsSayWhatToDo against the real servers.
func TestErrorsSayWhatToDo(t *testing.T) {
	wrong := func(t *testing.T, b *bed, change func(o *Options), want string) {
		t.Helper()
		o := b.o
		change(&o)
		_, err := New(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
	t.Run(influxd.V1, func(t *testing.T) {
		b := newBed(t, influxd.StartWithUsers(t, influxd.V1))
		wrong(t, b, func(o *Options) { o.Server.Token = "" }, "asks for a user")
		wrong(t, b, func(o *Options) { o.Server.Token = "admin:wrong" }, "not valid on this server")
		b.QueryInfluxQL(t, "", "CREATE USER small WITH PASSWORD 'x'")
		o := b.o
		o.Server.Token = "small:x"
		p, err := New(t.Context(), o) // anybody may list
		if err == nil {
			err = p.Apply(t.Context(), func(Step) {})
		}
		if err == nil || !strings.Contains(err.Error(), "ALL PRIVILEGES") {
			t.Errorf("a user without rights: %v", err)
		}
	})
	t.Run(influxd.V2, func(t *testing.T) {
		b := newBed(t, influxd.Start(t, influxd.V2))
		wrong(t, b, func(o *Options) { o.Server.Token = "" }, "asks for a token")
		wrong(t, b, func(o *Options) { o.Server.Token = "wrong" }, "not valid on this server")
		wrong(t, b, func(o *Options) { o.Server.Org = "" }, "--influxdb-org")
		wrong(t, b, func(o *Options) { o.Server.Org = "nobody" }, "influx org list")
		wrong(t, b, func(o *Options) { o.Server.Token = influxdb.Secret(b.CreateToken(t, influxd.Bucket)) }, "all access")
		wrong(t, b, func(o *Options) { o.TokenFile = filepath.Join(t.TempDir(), "no", "token") }, "no such file")
	})
}
