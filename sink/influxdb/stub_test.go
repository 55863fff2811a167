package influxdb_test

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/sinktest"
)

// stub is a server that only serves to go wrong; what goes right is tested with
// real ones.
func stub(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func always(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// outcome says in one word what a write's error means to the Deliverer.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if _, ok := errors.AsType[*sink.ThrottleError](err); ok {
		return "throttle"
	}
	if _, ok := errors.AsType[*sink.ConfigError](err); ok && errors.Is(err, sink.ErrServerFull) {
		return "config full"
	} else if ok {
		return "config"
	}
	if e, ok := errors.AsType[*sink.RejectedError](err); ok {
		return "rejected " + e.Reason
	}
	if e, ok := errors.AsType[*sink.RefusedError](err); ok {
		return "refused " + e.Reason
	}
	if errors.Is(err, sink.ErrTooLarge) {
		return "too large"
	}
	return "retry"
}

func TestAnswersAreClassifiedByMeaning(t *testing.T) {
	json := map[string]string{"Content-Type": "application/json"}
	v1 := map[string]string{"Content-Type": "application/json", "X-Influxdb-Version": "1.8.10"}
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		want   string
		rows   int    // of a rejection
		text   string // in the error
	}{
		{"accepted", 204, nil, "", "ok", 0, ""},
		{"login page of a proxy", 200, nil, "<html>Sign in</html>", "config", 0, "does not look like InfluxDB"},
		{"redirect", 301, map[string]string{"Location": "https://influx.example/?secret=1"}, "", "config", 0, "redirects to https://influx.example/"},
		{"1.8 type conflict", 400, v1, `{"error":"partial write: field type conflict: input field \"v\" on measurement \"m\" is type float, already exists as type integer dropped=3"}`, "rejected field_type_conflict", 3, "already exists"},
		{"2.7 type conflict", 422, json, `{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: x dropped=2"}`, "rejected field_type_conflict", 2, ""},
		{"2.0 beta type conflict", 500, json, `{"code":"internal error","message":"unexpected error writing points to database: partial write: field type conflict: x dropped=1"}`, "rejected field_type_conflict", 1, ""},
		{"3 partial", 400, json, `{"error":"partial write of line protocol occurred","data":[{"original_line":"a","line_number":1,"error_message":"invalid column type for column 'v'"},{"original_line":"b","line_number":7,"error_message":"invalid column type"}]}`, "rejected field_type_conflict", 2, "line_number"},
		{"clustered partial", 201, json, `{"code":"invalid","message":"partial write has occurred, dropped=4"}`, "rejected other", 4, ""},
		{"1.8 retention", 400, v1, `{"error":"partial write: points beyond retention policy dropped=5"}`, "rejected retention", 5, ""},
		{"1.8 parse", 400, v1, `{"error":"partial write: unable to parse 'x': missing fields\nunable to parse 'y': bad timestamp dropped=0"}`, "rejected parse", 2, ""},
		{"header only", 400, map[string]string{"X-Influxdb-Error": "partial write: max-values-per-tag limit exceeded dropped=9", "X-Influxdb-Version": "1.8.10"}, "", "rejected other", 9, "max-values"},
		{"2.7 parse", 400, json, `{"code":"invalid","message":"unable to parse 'x': missing fields"}`, "refused parse", 0, ""},
		{"unknown 400 of InfluxDB", 400, json, `{"code":"invalid","message":"something new"}`, "refused other", 0, ""},
		{"400 of somebody else", 400, nil, "<html>Bad Request</html>", "config", 0, "web page"},
		{"401", 401, v1, `{"error":"authorization failed"}`, "config", 0, ""},
		{"403", 403, v1, `{"error":"\"u\" user is not authorized to write to database \"weir\""}`, "config", 0, ""},
		{"database", 404, v1, `{"error":"database not found: \"weir\""}`, "config", 0, "CREATE DATABASE"},
		{"bucket", 404, json, `{"code":"not found","message":"bucket \"weir\" not found"}`, "config", 0, "influx bucket create"},
		{"org", 404, json, `{"code":"not found","message":"organization name \"x\" not found"}`, "config", 0, "--influxdb-org"},
		{"Debian's 1.6", 404, map[string]string{"X-Influxdb-Version": "1.6.7~rc0"}, "404 page not found\n", "config", 0, "InfluxDB 1.6.7~rc0, which has no"},
		{"wrong path", 404, nil, "nothing here", "config", 0, "check the URL"},
		{"retention policy", 500, v1, `{"error":"retention policy not found: x"}`, "config", 0, "retention policy"},
		{"1.8 disk full", 500, v1, `{"error":"engine: error writing WAL entry: write /var/lib/influxdb/wal/weir/autogen/1/_00003.wal: no space left on device"}`, "config full", 0, "restart it"},
		{"disk full and a partial write", 400, json, `{"code":"invalid","message":"partial write: disk quota exceeded dropped=3"}`, "config full", 0, "make room"},
		{"413", 413, nil, "<html>nginx</html>", "too large", 0, ""},
		{"429", 429, nil, "", "throttle", 0, ""},
		{"503", 503, nil, "", "throttle", 0, ""},
		{"500", 500, v1, `{"error":"timeout"}`, "retry", 0, "timeout"},
		{"502", 502, nil, "<html>Bad gateway</html>", "retry", 0, ""},
		{"408", 408, nil, "", "retry", 0, ""},
		{"hinted handoff", 500, v1, `{"error":"hinted handoff queue not empty"}`, "retry", 0, ""},
		{"rubbish", 500, json, "\x00\xff{{{", "retry", 0, ""},
		{"rubbish 400", 400, json, `{"statusCode":204,"Code":12}`, "config", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := stub(t, always(c.status, c.header, c.body))
			err := open(t, influxdb.Config{URL: srv.URL, Org: "o"}).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 10))
			if got := outcome(err); got != c.want {
				t.Fatalf("got %s (%v), want %s", got, err, c.want)
			}
			if r, ok := errors.AsType[*sink.RejectedError](err); ok && r.Rows != c.rows {
				t.Errorf("%d rows, want %d", r.Rows, c.rows)
			}
			if err != nil && (!strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("got %v, want %q in it", err, c.text)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Now()
	for v, want := range map[string]time.Duration{
		"17":      17 * time.Second,
		"0.5":     500 * time.Millisecond,
		"-3":      0,
		"soon":    0,
		"9999999": 24 * time.Hour,
		now.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
	} {
		h := map[string]string{"Retry-After": v, "Date": now.UTC().Format(http.TimeFormat)}
		err := open(t, influxdb.Config{URL: stub(t, always(429, h, "")).URL}).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 1))
		e, ok := errors.AsType[*sink.ThrottleError](err)
		if !ok || e.RetryAfter != want {
			t.Errorf("%q: got %v, want %v", v, err, want)
		}
	}
}

// TestFaultsOnTheWire: hang, close, late answers. Rows get there in the end.
func TestFaultsOnTheWire(t *testing.T) {
	var calls atomic.Int32
	var body []byte
	release := make(chan struct{})
	srv := stub(t, func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 1: // never answers
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case 2: // hangs up
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		case 3: // hangs up in the middle of an answer
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = rw.WriteString("HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n{\"err")
				_ = rw.Flush()
				conn.Close()
			}
		case 4: // no HTTP at all
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = rw.WriteString("\x00\x01\x02 rubbish\r\n\r\n")
				_ = rw.Flush()
				conn.Close()
			}
		case 5: // an endless answer
			w.WriteHeader(http.StatusInternalServerError)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		default: // late
			time.Sleep(20 * time.Millisecond)
			if z, err := gzip.NewReader(r.Body); err == nil {
				b, _ := io.ReadAll(z)
				body = append(body, b...) // halved for want of an answer
			}
			w.WriteHeader(http.StatusNoContent)
		}
	})
	defer close(release)
	p := newPipeline(t, open(t, influxdb.Config{URL: srv.URL, Timeout: 200 * time.Millisecond}))
	p.add(t, sinktest.Batch(sink.Main, "m", 0, 300))
	s := p.until(t, "all rows are delivered", delivered)
	if s.Retries != 5 || s.Failed != 5 || s.Rows != 300 {
		t.Errorf("%+v", s)
	}
	if string(body) != string(sinktest.Batch(sink.Main, "m", 0, 300).Lines) {
		t.Errorf("the server got %.100q", body)
	}
}

func TestCancelEndsARequestAtOnce(t *testing.T) {
	arrived := make(chan struct{})
	release := make(chan struct{})
	srv := stub(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	err := open(t, influxdb.Config{URL: srv.URL, Timeout: time.Hour}).Write(ctx, sinktest.Batch(sink.Main, "m", 0, 1))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	var body string
	srv := stub(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		b, _ := io.ReadAll(r.Body)
		body = string(b)
		w.WriteHeader(http.StatusNoContent)
	})
	s := open(t, influxdb.Config{URL: strings.Replace(srv.URL, "http://", "http://me:pass@", 1) + "/influx/", NoGzip: true,
		Database: "db", RetentionPolicy: "rp", LogDatabase: "logs"})
	for stream, bucket := range []string{"db/rp", "logs"} {
		if err := s.Write(t.Context(), sinktest.Batch(sink.Stream(stream), "m", 0, 2)); err != nil {
			t.Fatal(err)
		}
		q := got.URL.Query()
		if got.URL.Path != "/influx/api/v2/write" || q.Get("bucket") != bucket || q.Get("precision") != "ns" || q.Has("org") {
			t.Errorf("URL %s", got.URL)
		}
		if got.Header.Get("Authorization") != "Token me:pass" || !strings.Contains(got.Header.Get("User-Agent"), "weir") {
			t.Errorf("headers %v", got.Header)
		}
		if body != string(sinktest.Batch(sink.Main, "m", 0, 2).Lines) {
			t.Errorf("body %q", body)
		}
	}
	if text := s.String(); strings.Contains(text, "pass") || !strings.Contains(text, "db/rp") {
		t.Errorf("String is %q", text)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	const secret = "hush-hush"
	cfg := influxdb.Config{URL: "http://user:" + secret + "@127.0.0.1:1", Bucket: "weir"}
	s := open(t, cfg)
	err := s.Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 1))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{cfg.String(), s.String(), influxdb.Secret(secret).String()} {
		if strings.Contains(text, secret) {
			t.Errorf("%q shows it", text)
		}
	}
	_, err = influxdb.New(influxdb.Config{URL: "http://user:" + secret + "@bad host/\x7f"})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	_, err = influxdb.New(influxdb.Config{Token: secret + "\nx"})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewTLSServer(always(204, nil, ""))
	t.Cleanup(srv.Close)
	b := sinktest.Batch(sink.Main, "m", 0, 1)
	if got := outcome(open(t, influxdb.Config{URL: srv.URL}).Write(t.Context(), b)); got != "config" {
		t.Errorf("unknown authority: %s", got)
	}
	if err := open(t, influxdb.Config{URL: srv.URL, InsecureSkipVerify: true}).Write(t.Context(), b); err != nil {
		t.Error(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, influxdb.Config{URL: srv.URL, CAFile: ca}).Write(t.Context(), b); err != nil {
		t.Error(err)
	}
	plain := stub(t, always(204, nil, ""))
	err := open(t, influxdb.Config{URL: strings.Replace(plain.URL, "http:", "https:", 1)}).Write(t.Context(), b)
	if outcome(err) != "config" || !strings.Contains(err.Error(), "http://") {
		t.Errorf("TLS to a plain server: %v", err)
	}
}

func TestConfig(t *testing.T) {
	if err := influxdb.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []influxdb.Config{
		{URL: "localhost:8086"}, {URL: "ftp://x"}, {Timeout: -1}, {CAFile: "x", InsecureSkipVerify: true},
		{Password: "x"}, {Username: "a", Token: "b"}, {RetentionPolicy: "x"}, {Username: "a:b"},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
	if _, err := influxdb.New(influxdb.Config{TokenFile: "/no/such"}); err == nil || !strings.Contains(err.Error(), "--influxdb-token-file") {
		t.Errorf("got %v", err)
	}
}
