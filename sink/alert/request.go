package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// refusedError: this message will never be taken.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

// throttleError: not now; after is 0 where the receiver does not say for how long.
type throttleError struct {
	after time.Duration
	err   error
}

func (e *throttleError) Error() string { return e.err.Error() }

// configError: not before somebody changes something.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }

// parseURL reads an address; its errors do not repeat it.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("the URL cannot be understood; write it like https://hooks.example/path")
	}
	u.Fragment = ""
	return u, nil
}

// address is where requests go by now.
func (r *Receiver) address() (*url.URL, error) {
	s := string(r.URL)
	if r.URLFile != "" {
		b, err := readSecret(r.URLFile)
		if err != nil {
			return nil, err
		}
		s = b
	}
	return parseURL(s)
}

// target is where that is, as far as it may be shown: the path and the query of such
// an address are mostly its password.
func (r *Receiver) target() string {
	u, err := r.address()
	if err != nil {
		return err.Error()
	}
	return u.Scheme + "://" + u.Host
}

func readSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return "", fmt.Errorf("%s holds more than one word: is the file the right one?", file)
	}
	return s, nil
}

func newTLS(to *Receiver) (*tls.Config, error) {
	t := &tls.Config{InsecureSkipVerify: to.InsecureSkipVerify}
	if to.CAFile != "" {
		pem, err := os.ReadFile(to.CAFile)
		if err != nil {
			return nil, fmt.Errorf("alerts: receiver %q: read certificate authorities: %w", to.Name, err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("alerts: receiver %q: %s holds no certificate in PEM form", to.Name, to.CAFile)
		}
	}
	return t, nil
}

func newClient(cfg *Config, t *tls.Config) *http.Client {
	return &http.Client{
		Timeout: cfg.Timeout, // from the first look-up to the last octet of the answer
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        t,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1,
			MaxResponseHeaderBytes: maxAnswer,
			IdleConnTimeout:        90 * time.Second,
		},
		// A redirected POST becomes a GET without alerts, and its 200 a success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const maxAnswer = 64 << 10

// post makes one request. No error shows the path or query of the address, its user or
// a token, whoever made the text.
func (r *receiver) post(ctx context.Context, body []byte) error {
	to, err := r.to.address()
	if err != nil {
		return &configError{err}
	}
	token := ""
	if r.to.TokenFile != "" {
		if token, err = readSecret(r.to.TokenFile); err != nil {
			return &configError{err}
		}
	}
	to = r.wire.endpoint(to)
	hide := secrets(to, token)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return &configError{errors.New(hide.Replace(unwrapped(err).Error()))}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weir/"+r.cfg.Version)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("tell %s://%s: %s", to.Scheme, to.Host, clean(hide.Replace(unwrapped(err).Error()), 400)) // it may repeat what was answered
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // one cut short is judged by its status
	if resp.StatusCode/100 == 2 {
		return nil
	}
	said := clean(hide.Replace(string(answer)), 200)
	return classify(resp, fmt.Errorf("tell %s://%s: it answers %d %s: %s", to.Scheme, to.Host, resp.StatusCode, http.StatusText(resp.StatusCode), said))
}

// classify says what an answer other than success wants of us.
func classify(resp *http.Response, err error) error {
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &throttleError{retryAfter(resp.Header.Get("Retry-After"), time.Now()), err}
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return &refusedError{err}
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusConflict:
		return err
	}
	if resp.StatusCode < 500 {
		return &configError{err}
	}
	return err
}

// retryAfter reads seconds or a date; 0: neither.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// unwrapped is err without the URL that net/http puts before it.
func unwrapped(err error) error {
	for {
		u, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		err = u.Err
	}
}

// secrets replaces everything that is secret in a request to u, however it is written.
func secrets(u *url.URL, token string) *strings.Replacer {
	var pairs []string
	hide := func(s string) {
		if len(s) > 3 { // or it would replace half of every text
			pairs = append(pairs, s, "[redacted]", url.QueryEscape(s), "[redacted]", url.PathEscape(s), "[redacted]")
		}
	}
	hide(token)
	if u.User != nil {
		pw, _ := u.User.Password()
		hide(pw)
		hide(u.User.String())
	}
	hide(u.RequestURI())
	hide(u.RawQuery)
	for _, values := range u.Query() {
		for _, v := range values {
			hide(v)
		}
	}
	hide(u.Path)
	for _, part := range strings.Split(u.Path, "/") {
		if part != "alerts" { // an Alertmanager's path is no secret
			hide(part)
		}
	}
	return strings.NewReplacer(pairs...)
}
