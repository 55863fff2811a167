package influxdb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/sinktest"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/machine"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// versions runs f against each real server.
func versions(t *testing.T, f func(t *testing.T, s *influxd.Server)) {
	for _, v := range []string{influxd.V1, influxd.V2} {
		t.Run(v, func(t *testing.T) { f(t, influxd.Start(t, v)) })
	}
}

// config reaches s as a user of its version would.
func config(s *influxd.Server) influxdb.Config {
	if s.V1() {
		return influxdb.Config{URL: s.URL, Database: influxd.Bucket}
	}
	return influxdb.Config{URL: s.URL, Org: s.Org, Bucket: influxd.Bucket, Token: influxdb.Secret(s.Token)}
}

func open(t *testing.T, cfg influxdb.Config) *influxdb.Sink {
	t.Helper()
	s, err := influxdb.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// stored returns what a database has of a measurement, as lines.
func stored(t *testing.T, s *influxd.Server, db, measurement string) []string {
	t.Helper()
	var got []string
	for _, r := range s.QueryInfluxQL(t, db, fmt.Sprintf(`SELECT host, v FROM %q`, measurement)) {
		got = append(got, fmt.Sprintf("%s,host=%v v=%vi %v", measurement, r.Values["host"], r.Values["v"], r.Values["time"]))
	}
	return got
}

func TestConformance(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		dbs := [sink.Streams]string{influxd.Bucket, influxd.LogBucket}
		n := 0
		sinktest.Run(t, func(t *testing.T) sinktest.Subject {
			n++ // databases of its own for each part
			cfg := config(srv)
			name := fmt.Sprintf("part_%d", n)
			if srv.V1() {
				cfg.Database = name
			} else {
				cfg.Bucket = name
			}
			srv.CreateBucket(t, name)
			srv.CreateBucket(t, name+"_log")
			return sinktest.Subject{Sink: open(t, cfg), Lines: func(s sink.Stream) []string {
				db := strings.Replace(dbs[s], influxd.Bucket, name, 1)
				var lines []string
				for _, r := range srv.QueryInfluxQL(t, db, "SHOW MEASUREMENTS") {
					lines = append(lines, stored(t, srv, db, r.Values["name"].(string))...)
				}
				return lines
			}}
		})
	})
}

// pipeline is a journal on disk and a Deliverer for its main stream.
type pipeline struct {
	*sink.Deliverer
	journal *journal.Journal
	log     *machine.Buffer
}

func newPipeline(t *testing.T, s sink.Sink) *pipeline {
	t.Helper()
	return newPipelineWith(t, s, journal.Config{Dir: t.TempDir()}, sink.Limit{Rows: 1000})
}

func newPipelineWith(t *testing.T, s sink.Sink, cfg journal.Config, limit sink.Limit) *pipeline {
	t.Helper()
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	q, err := j.Queue(s.Name(), sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{journal: j, log: &machine.Buffer{}}
	p.Deliverer = sink.NewDeliverer(s, q, sink.Main, sink.DeliverConfig{
		Limit: limit, MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond, ConfigRetry: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(p.log, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		q.Close()
		j.Close()
	})
	return p
}

func (p *pipeline) add(t *testing.T, b *sink.Batch) {
	t.Helper()
	if err := p.journal.Append(b); err != nil {
		t.Fatal(err)
	}
}

// until waits for what must come to pass.
func (p *pipeline) until(t *testing.T, what string, cond func(sink.DeliverStats) bool) sink.DeliverStats {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		s := p.Stats()
		if cond(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s: %+v", what, s)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func delivered(s sink.DeliverStats) bool { return s.Queue.Rows == 0 }

func wantStored(t *testing.T, srv *influxd.Server, n int) {
	t.Helper()
	got := stored(t, srv, influxd.Bucket, "m")
	want := strings.Split(strings.TrimSpace(string(sinktest.Batch(sink.Main, "m", 0, n).Lines)), "\n")
	if torn := srv.Torn(t); len(got) < len(want) && torn > 1 {
		t.Logf("the server, killed, found its log torn %d times and has %d rows of %d: docs/outages.md", torn, len(got), len(want))
		has := map[string]bool{}
		for _, row := range got {
			has[row] = true
		}
		want = slices.DeleteFunc(want, func(row string) bool { return !has[row] }) // what it has is right all the same
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows are stored, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("row %d is %s, want %s", i, got[i], want[i])
		}
	}
}

// TestCaseJ4_ServerKilledInTheMiddle: every row arrives, once.
func TestCaseJ4_ServerKilledInTheMiddle(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		p := newPipeline(t, open(t, config(srv)))
		const batches = 60
		for i := range batches {
			p.add(t, sinktest.Batch(sink.Main, "m", 500*i, 500))
			switch i {
			case 10, 35:
				p.until(t, "some rows are in", func(s sink.DeliverStats) bool { return s.Rows > uint64(200*i) })
				srv.Kill(t)
			case 20, 50:
				p.until(t, "the outage is noticed", func(s sink.DeliverStats) bool { return s.LastError != "" })
				srv.Restart(t)
			}
		}
		s := p.until(t, "all rows are delivered", delivered)
		if s.Failed == 0 || s.Queue.Lost != 0 || s.Rejected() != 0 {
			t.Errorf("%+v", s)
		}
		wantStored(t, srv, 500*batches)
	})
}

// TestCaseJ4_WrongTokenThenFixed: explained, kept, delivered.
func TestCaseJ4_WrongTokenThenFixed(t *testing.T) {
	srv := influxd.Start(t, influxd.V2)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("expired-secret-token")
	cfg := config(srv)
	cfg.Token, cfg.TokenFile = "", file
	p := newPipeline(t, open(t, cfg))
	p.add(t, sinktest.Batch(sink.Main, "m", 0, 100))
	s := p.until(t, "it is refused", func(s sink.DeliverStats) bool { return s.Misconfig > 0 })
	if !strings.Contains(s.LastError, file) || strings.Contains(s.LastError+p.log.String(), "expired-secret-token") {
		t.Errorf("error %q, log %s", s.LastError, p.log)
	}
	write(srv.CreateToken(t, influxd.Bucket))
	p.until(t, "all rows are delivered", delivered)
	wantStored(t, srv, 100)
}

func TestTokenWithoutPermission(t *testing.T) {
	srv := influxd.Start(t, influxd.V2)
	cfg := config(srv)
	cfg.Token = influxdb.Secret(srv.CreateToken(t, influxd.LogBucket))
	err := open(t, cfg).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 1))
	c, ok := errors.AsType[*sink.ConfigError](err)
	if !ok || !strings.Contains(c.Remedy, "--write-bucket") && !strings.Contains(c.Remedy, "may not see") {
		t.Errorf("got %v", err)
	}
}

// TestCaseJ4_MissingBucketThenCreated: one missing bucket holds up its own
// stream only.
func TestCaseJ4_MissingBucketThenCreated(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		cfg := config(srv)
		if srv.V1() {
			cfg.Database, cfg.LogDatabase = "later", influxd.LogBucket
		} else {
			cfg.Bucket, cfg.LogBucket = "later", influxd.LogBucket
		}
		s := open(t, cfg)
		p := newPipeline(t, s)
		p.add(t, sinktest.Batch(sink.Main, "m", 0, 100))
		st := p.until(t, "it is missed", func(s sink.DeliverStats) bool { return s.Misconfig > 0 })
		if !strings.Contains(st.LastError, "later") || !strings.Contains(strings.ToLower(st.LastError), "create") {
			t.Errorf("error %q", st.LastError)
		}
		if err := s.Write(t.Context(), sinktest.Batch(sink.Log, "m", 0, 1)); err != nil {
			t.Errorf("the other stream: %v", err)
		}
		srv.CreateBucket(t, "later")
		p.until(t, "all rows are delivered", delivered)
		if got := stored(t, srv, "later", "m"); len(got) != 100 {
			t.Errorf("%d rows are stored", len(got))
		}
	})
}

// TestCaseJ4_PartialWriteIsCounted: the rows that the server refuses are counted
// with their reason, the others are in.
func TestCaseJ4_PartialWriteIsCounted(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		p := newPipeline(t, open(t, config(srv)))
		p.add(t, sinktest.Batch(sink.Main, "m", 0, 100))
		p.until(t, "all rows are delivered", delivered)
		b := sinktest.Batch(sink.Main, "m", 100, 100)
		for _, row := range []string{"v=117i", "v=150i", "v=199i"} {
			b.Lines = bytes.Replace(b.Lines, []byte(row), []byte("v=1.5"), 1)
		}
		p.add(t, b)
		s := p.until(t, "it is delivered", delivered)
		if s.RejectedType != 3 || s.Rejected() != 3 || s.Rows != 197 {
			t.Errorf("type conflict: %+v", s)
		}
		if got := stored(t, srv, influxd.Bucket, "m"); len(got) != 197 {
			t.Errorf("%d rows are stored", len(got))
		}
		b = sinktest.Batch(sink.Main, "m", 200, 100)
		b.Lines = bytes.Replace(b.Lines, []byte("v=242i"), []byte("v=what"), 1)
		b.Lines = bytes.Replace(b.Lines, []byte("v=277i"), []byte("v="), 1)
		p.add(t, b)
		s = p.until(t, "it is delivered", delivered)
		if s.RejectedParse != 2 || s.Rejected() != 5 || s.Rows != 295 {
			t.Errorf("bad line: %+v", s)
		}
		if got := stored(t, srv, influxd.Bucket, "m"); len(got) != 295 {
			t.Errorf("%d rows are stored", len(got))
		}
	})
}

// TestCaseJ6_SameRowsTwice: a batch sent again, after its answer was lost, does
// not add up.
func TestCaseJ6_SameRowsTwice(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		s := open(t, config(srv))
		for range 3 {
			if err := s.Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 50)); err != nil {
				t.Fatal(err)
			}
		}
		rows := srv.QueryInfluxQL(t, influxd.Bucket, `SELECT count(v), sum(v) FROM m`)
		if len(rows) != 1 || rows[0].Values["count"] != json.Number("50") || rows[0].Values["sum"] != json.Number("1225") {
			t.Errorf("got %v", rows)
		}
	})
}

func TestUsersOf1x(t *testing.T) {
	srv := influxd.StartWithUsers(t, influxd.V1)
	srv.QueryInfluxQL(t, "", `CREATE USER "weir" WITH PASSWORD 'se:cret'`)
	b := sinktest.Batch(sink.Main, "m", 0, 1)
	write := func(user, password string) error {
		cfg := config(srv)
		cfg.Username, cfg.Password = user, influxdb.Secret(password)
		return open(t, cfg).Write(t.Context(), b)
	}
	for _, c := range []struct{ user, password, remedy string }{
		{"", "", "set username and password"},
		{"weir", "wrong", `user "weir" or its password`},
		{"weir", "se:cret", `GRANT WRITE ON "weir" TO "weir"`},
	} {
		e, ok := errors.AsType[*sink.ConfigError](write(c.user, c.password))
		if !ok || !strings.Contains(e.Remedy, c.remedy) {
			t.Errorf("user %q: got %v, want %q", c.user, e, c.remedy)
		}
	}
	srv.QueryInfluxQL(t, "", `GRANT WRITE ON "weir" TO "weir"`)
	for _, password := range []string{"se:cret", "se:c ret of  it"} {
		srv.QueryInfluxQL(t, "", fmt.Sprintf(`SET PASSWORD FOR "weir" = '%s'`, password))
		if err := write("weir", password); err != nil {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

func TestCheck(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		check := func(name string, cfg influxdb.Config, problems int, want ...string) {
			t.Helper()
			n, text := 0, ""
			for _, f := range open(t, cfg).Check(t.Context()) {
				if f.Problem {
					n++
				}
				text += fmt.Sprintf("%+v\n", f)
			}
			if n != problems {
				t.Errorf("%s: %d problems, want %d:\n%s", name, n, problems, text)
			}
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %q is not in:\n%s", name, w, text)
				}
			}
		}
		check("good", config(srv), 0, srv.Version, "can be written to")
		cfg := config(srv)
		if srv.V1() {
			cfg.LogDatabase = "nope"
			check("database", cfg, 1, `CREATE DATABASE "nope"`)
		} else {
			cfg.LogBucket = "nope"
			check("bucket", cfg, 1, "influx bucket create --org "+influxd.Org+" --name nope")
			cfg = config(srv)
			cfg.Token = "wrong"
			check("token", cfg, 2, "INFLUX_TOKEN")
			cfg = config(srv)
			cfg.Org = "wrong"
			check("org", cfg, 2, "--influxdb-org")
			cfg.Org = ""
			check("no org", cfg, 2, "--influxdb-org")
			cfg = config(srv)
			cfg.Token = influxdb.Secret(srv.CreateToken(t, influxd.Bucket))
			check("one bucket only", cfg, 1, influxd.LogBucket)
		}
		if m := srv.QueryInfluxQL(t, influxd.Bucket, "SHOW MEASUREMENTS"); len(m) != 0 {
			t.Errorf("check wrote %v", m)
		}
		srv.Kill(t)
		check("down", config(srv), 1, "refused")
	})
}
