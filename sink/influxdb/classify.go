package influxdb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// classify says by its meaning, rather than by one server's status code, what
// an answer to a write wants of us: a field type conflict is 400 on 1.8, 422 on
// 2.7 and 500 on an old 2.0 beta.
func (s *Sink) classify(a *answer, t *target) error {
	if a.status == http.StatusNoContent {
		return nil
	}
	msg := s.said(a)
	err := fmt.Errorf("write to %s at %s: %d %s: %s", t.bucket, s.cfg.URL, a.status, http.StatusText(a.status), clip(msg))
	switch {
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable:
		return &sink.ThrottleError{RetryAfter: a.retryAfter(time.Now()), Err: err}
	case a.status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %w", sink.ErrTooLarge, err)
	case a.status >= 400 && (has(msg, "no space left on device") || has(msg, "disk quota exceeded")):
		return &sink.ConfigError{Remedy: noRoom, Err: fmt.Errorf("%w: %w", sink.ErrServerFull, err)}
	case a.status == http.StatusCreated, a.status >= 400 && has(msg, "partial write"):
		return a.rejected(msg, err)
	case a.status < 400:
		return s.notInflux(a, err)
	case has(msg, "hinted handoff queue not empty"):
		return err
	}
	if c := s.misconfigured(a, t, msg, err); c != nil {
		return c
	}
	if reason := reasonOf(msg); reason != sink.ReasonOther {
		return &sink.RefusedError{Reason: reason, Err: err}
	}
	switch a.status {
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return err
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if a.fromInflux() {
			return &sink.RefusedError{Reason: sink.ReasonOther, Err: err}
		}
	}
	if a.status >= 500 {
		return err
	}
	return s.notInflux(a, err)
}

// notInflux: an answer that no InfluxDB gives to a write. Success or not, no row
// is where it should be.
func (s *Sink) notInflux(a *answer, err error) error {
	remedy := fmt.Sprintf("what answers at %s does not look like InfluxDB's write endpoint; check the URL, and any proxy before it", s.cfg.URL)
	if to, e := url.Parse(a.header.Get("Location")); e == nil && a.status >= 300 && a.status < 400 && to.Path != "" {
		to.RawQuery, to.User = "", nil
		remedy = fmt.Sprintf("the server redirects to %s: use that as the URL (without /api/v2/write)", clip(s.redact(to.String())))
	}
	return &sink.ConfigError{Remedy: remedy, Err: err}
}

var droppedCount = regexp.MustCompile(`dropped=(\d+)`)

// rejected is a partial write: the other rows are in.
func (a *answer) rejected(msg string, err error) error {
	rows := 0
	for _, m := range droppedCount.FindAllStringSubmatch(msg, -1) {
		n, _ := strconv.Atoi(m[1])
		rows += n
	}
	if rows == 0 { // 1.8 says dropped=0 and lists the lines; 3 lists them in data
		rows = max(strings.Count(msg, "unable to parse"), a.listed(), 1)
	}
	reason := reasonOf(msg)
	return &sink.RejectedError{Rows: rows, Reason: reason, Remedy: acceptable(reason), Err: err}
}

// listed is how many lines InfluxDB 3 lists as refused.
func (a *answer) listed() int {
	var v struct {
		Data []json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(a.body, &v)
	return len(v.Data)
}

func reasonOf(msg string) string {
	switch {
	case has(msg, "field type conflict"), has(msg, "already exists as type"), has(msg, "invalid column type"):
		return sink.ReasonType
	case has(msg, "beyond retention policy"), has(msg, "outside retention"):
		return sink.ReasonRetention
	case has(msg, "unable to parse"), has(msg, "error parsing"), has(msg, "parse failed"), has(msg, "missing fields"), has(msg, "could not parse"):
		return sink.ReasonParse
	}
	return sink.ReasonOther
}

func has(msg, s string) bool { return strings.Contains(strings.ToLower(msg), s) }

// said is the text of an answer without our secret, should it repeat that.
func (s *Sink) said(a *answer) string { return s.redact(a.message()) }

func (s *Sink) redact(text string) string {
	for _, secret := range [...]string{*s.token.Load(), string(s.cfg.Password)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

// message is the text of an answer, from wherever this server puts it.
func (a *answer) message() string {
	var v struct {
		Code    string          `json:"code"`
		Message string          `json:"message"`
		Error   string          `json:"error"`
		Data    json.RawMessage `json:"data"`
	}
	body := strings.TrimSpace(string(a.body))
	if err := json.Unmarshal(a.body, &v); err == nil && (v.Message != "" || v.Error != "") {
		body = strings.Trim(v.Error+" "+v.Message, " ")
		if len(v.Data) > 0 {
			body += " " + string(v.Data)
		}
	}
	if strings.HasPrefix(body, "<") {
		body = "(a web page)"
	}
	if h := a.header.Get("X-Influxdb-Error"); body == "" {
		body = h
	}
	if body == "" {
		body = "(no text)"
	}
	return strings.ToValidUTF8(body, "?")
}

// clip keeps a message to a length that can be logged, and to text.
func clip(msg string) string {
	const most = 400
	msg = strings.ToValidUTF8(strings.Join(strings.Fields(msg), " "), "?")
	if len(msg) > most {
		return strings.ToValidUTF8(msg[:most], "") + "…"
	}
	return msg
}

// fromInflux says whether an answer looks like one of InfluxDB's.
func (a *answer) fromInflux() bool {
	if a.version() != "" || a.header.Get("X-Influxdb-Error") != "" || a.header.Get("X-Platform-Error-Code") != "" {
		return true
	}
	var v struct {
		Code  string `json:"code"`
		Error string `json:"error"`
	}
	return json.Unmarshal(a.body, &v) == nil && (v.Code != "" || v.Error != "")
}

func (a *answer) version() string {
	return strings.TrimPrefix(a.header.Get("X-Influxdb-Version"), "v")
}

// maxRetryAfter bounds what a server may ask for; a Deliverer may have a bound of its own.
const maxRetryAfter = 24 * time.Hour

// retryAfter understands seconds and dates. A date is measured by the server's
// own clock where it tells it.
func (a *answer) retryAfter(now time.Time) time.Duration {
	v := strings.TrimSpace(a.header.Get("Retry-After"))
	if secs, err := strconv.ParseFloat(v, 64); err == nil {
		if secs > 0 { // not NaN
			return time.Duration(min(secs, maxRetryAfter.Seconds()) * float64(time.Second))
		}
		return 0
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// unreachableError is an error of the transport. That may repeat what the server sent
// (a Location it cannot parse, a malformed header), so that its text is not told as it is.
type unreachableError struct {
	told  string
	cause error
}

func (e *unreachableError) Error() string { return e.told }
func (e *unreachableError) Unwrap() error { return e.cause }

// unreachable explains a request without an answer. Its text never repeats the
// request's URL.
func (s *Sink) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, sink.ErrNoAnswer) {
		err = fmt.Errorf("%w (%v)", cause, s.cfg.Timeout)
	} else if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	err = &unreachableError{fmt.Sprintf("reach %s: %s", s.cfg.URL, clip(s.redact(err.Error()))), err}
	remedy := ""
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		remedy = "the server's certificate is not trusted: name its authority with ca_file, or check the host name"
		if _, ok := errors.AsType[x509.HostnameError](err); ok {
			remedy = "the certificate is for another host name: use that name in the URL"
		}
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || has(err.Error(), "http response to https client") {
		remedy = "the server does not speak TLS there: try http:// in the URL"
	}
	if remedy != "" {
		return &sink.ConfigError{Remedy: remedy, Err: err}
	}
	return err
}
