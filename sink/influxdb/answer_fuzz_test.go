package influxdb

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weir-probe/weir/sink"
)

// fake answers each request with the same.
type fake struct{ answer http.Response }

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	a := f.answer
	a.Request = r
	return &a, nil
}

// FuzzAnswer: whatever a server says to a write, it is a success only by its status, a
// wait is one that can be waited, what is told is short and without a secret, and no
// rows are given up but those that an answer of 400 or more, or 201, speaks of.
func FuzzAnswer(f *testing.F) {
	f.Add(204, "", "", "", "", "")
	f.Add(200, "", "", "", "", "<html>Sign in</html>")
	f.Add(302, "", "https://influx.example/login?token=s3cr3t-of-the-probe", "", "", "")
	f.Add(429, "NaN", "", "", "", `{"code":"too many requests","message":"x"}`)
	f.Add(503, "Fri, 31 Dec 9999 23:59:59 GMT", "", "", "Thu, 01 Jan 1970 00:00:00 GMT", "")
	f.Add(503, "-1e400", "", "v2.7.12", "", "")
	f.Add(400, "", "", "1.8.10", "", `{"error":"partial write: field type conflict dropped=99999999999999999999 dropped=9223372036854775807"}`)
	f.Add(400, "", "", "", "", `{"error":{"error":"partial write"},"data":[1,2,3]}`)
	f.Add(422, "", "", "", "", `{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=-5"}`)
	f.Add(201, "", "", "", "", `{"message":"dropped=0"}`)
	f.Add(500, "", "", "1.8.10", "", `{"error":"engine: error writing WAL entry: no space left on device"}`)
	f.Add(404, "", "", strings.Repeat("1.", 4000), "", `{"error":"database not found: \"s3cr3t-of-the-probe\""}`)
	f.Add(404, "", "", "1.6.7~"+strings.Repeat("x", 5000)+"s3cr3t-of-the-probe", "", "")
	f.Add(404, "", "", "1.6.7\xff", "", "")
	f.Add(301, "", "http://s3cr3t-of-the-probe.example/s3cr3t-of-the-probe/"+strings.Repeat("x", 5000), "", "", "")
	f.Add(302, "", "%s3cr3t-of-the-probe"+strings.Repeat("x", 5000), "", "", "") // no URL: net/http repeats it
	f.Add(413, "", "", "", "", "\x00\xff{{{")
	f.Add(101, "", "", "", "", "")
	const token, rows = "s3cr3t-of-the-probe", 7
	s, err := New(Config{URL: "http://influx.example", Org: "o", Token: token, NoGzip: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, retryAfter, location, version, date, body string) {
		h := http.Header{}
		for k, v := range map[string]string{"Retry-After": retryAfter, "Location": location, "X-Influxdb-Version": version, "Date": date, "Content-Type": "application/json"} {
			if v != "" {
				h.Set(k, v)
			}
		}
		s.client.Transport = &fake{http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}}
		b := &sink.Batch{Rows: rows, Lines: []byte(strings.Repeat("m v=1i 1\n", rows))}
		err := s.Write(context.Background(), b)
		if (err == nil) != (status == http.StatusNoContent) {
			t.Fatalf("status %d: %v", status, err)
		}
		if err == nil {
			return
		}
		checkTold(t, err, token)
		var throttle *sink.ThrottleError
		if errors.As(err, &throttle) && (throttle.RetryAfter < 0 || throttle.RetryAfter > 24*time.Hour) {
			t.Errorf("Retry-After %q: %v", retryAfter, throttle.RetryAfter)
		}
		var rejected *sink.RejectedError
		var refused *sink.RefusedError
		if (errors.As(err, &rejected) || errors.As(err, &refused)) && status < 400 && status != http.StatusCreated {
			t.Errorf("status %d gives rows up: %v", status, err)
		}
		if errors.As(err, &rejected) && rejected.Reason == "" || errors.As(err, &refused) && refused.Reason == "" {
			t.Errorf("rows are given up for no reason: %v", err)
		}
	})
}

// checkTold looks at what goes to the log.
func checkTold(t *testing.T, err error, token string) {
	t.Helper()
	text := err.Error()
	if len(text) > 2000 || !utf8.ValidString(text) {
		t.Errorf("%d octets are told, valid %v: %.300q", len(text), utf8.ValidString(text), text)
	}
	if strings.Contains(text, token) {
		t.Errorf("%s tells the secret", text)
	}
}
