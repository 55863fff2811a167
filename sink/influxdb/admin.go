package influxdb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/weir-probe/weir/sink"
)

// AnswerError is an answer of 400 or more to a request that Do sent.
type AnswerError struct {
	Status  int
	Message string
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, http.StatusText(e.Status), clip(e.Message))
}

// most of an answer that Do reads: a list of some hundred objects with their texts.
const maxAdminAnswer = 16 << 20

// Do sends a request for what is not a row (buckets, users, tasks) as whom the
// sink is configured to be, within its timeout. An answer of 400 or more is an
// *AnswerError, inside a *sink.ConfigError where what to do about it is known.
func (s *Sink) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), s.cfg.Timeout, sink.ErrNoAnswer)
	defer cancel()
	resp, err := s.service.DoHTTPRequestWithResponse(req.WithContext(ctx), s.authorize)
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer)); err != nil {
		return nil, s.unreachable(ctx, err)
	}
	switch {
	case a.status >= 400:
		return nil, s.refusedRequest(a)
	case a.status >= 300:
		return nil, s.notInflux(a, &AnswerError{a.status, s.said(a)})
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	return resp, nil
}

func (s *Sink) refusedRequest(a *answer) error {
	msg := s.said(a)
	err := &AnswerError{a.status, msg}
	remedy := ""
	switch {
	case has(msg, "create admin user first"):
		remedy = "the server asks for users and has none yet: make an administrator, CREATE USER admin WITH PASSWORD '…' WITH ALL PRIVILEGES"
	case a.status == http.StatusForbidden, a.status == http.StatusUnauthorized && has(msg, "is unauthorized"), has(msg, "not authorized to"), has(msg, "requires admin privilege"):
		remedy = "this needs an administrator: a token with all access on 2.x (`influx auth create --all-access`), on 1.x a user with ALL PRIVILEGES, on 3 an admin token"
	case a.status == http.StatusUnauthorized:
		remedy = s.wrongSecret(a)
	}
	if remedy == "" {
		return err
	}
	return &sink.ConfigError{Remedy: remedy, Err: err}
}

// Version is that of the server; "of unknown version" where it does not tell.
func (s *Sink) Version(ctx context.Context) (string, error) { return s.version(ctx) }

// ServerURL is the server's, without a user or password, with a slash at its end.
func (s *Sink) ServerURL() string { return strings.TrimSuffix(s.cfg.URL, "/") + "/" }

// Destination is the bucket, or database and retention policy ("" = the default
// one), that the rows of a stream go to on this server.
func (s *Sink) Destination(stream sink.Stream) (name, policy string) {
	name, policy, _ = strings.Cut(s.targets[stream].bucket, "/")
	return name, policy
}
