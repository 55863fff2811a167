package influxdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/weir-probe/weir/sink"
)

// Check looks whether rows would arrive: whether the server answers, which one
// it is, whether it knows us, and whether the bucket or database of each stream
// is there and may be written to. It writes no row.
func (s *Sink) Check(ctx context.Context) []sink.Finding {
	version, err := s.version(ctx)
	if err != nil {
		f := sink.Finding{Subject: "server", Problem: true, Away: true, Detail: err.Error(),
			Remedy: fmt.Sprintf("is InfluxDB running at %s, and can this host reach it? Rows wait in the journal until it is", s.cfg.URL)}
		if c, ok := errors.AsType[*sink.ConfigError](err); ok {
			f.Detail, f.Remedy, f.Away = c.Err.Error(), c.Remedy, false
		}
		return []sink.Finding{f}
	}
	version = clip(s.redact(version))
	found := []sink.Finding{{Subject: "server", Detail: fmt.Sprintf("InfluxDB %s at %s", version, s.cfg.URL)}}
	if older(version) {
		found[0].Problem = true
		found[0].Remedy = fmt.Sprintf("InfluxDB %s has no /api/v2/write: Weir needs 1.8 or later", version)
		return found
	}
	for i := range s.targets {
		found = append(found, s.checkTarget(ctx, &s.targets[i], version))
	}
	return found
}

// version asks what is there, in both ways that servers tell it.
func (s *Sink) version(ctx context.Context) (string, error) {
	ping, err := s.do(ctx, http.MethodGet, s.service.ServerURL()+"ping", "", nil)
	if err != nil {
		return "", err
	}
	if v := ping.version(); v != "" {
		return v, nil
	}
	if v := ping.saidVersion(); v != "" { // 3
		return v, nil
	}
	health, err := s.do(ctx, http.MethodGet, s.service.ServerURL()+"health", "", nil)
	if err != nil {
		return "", err
	}
	if v := health.saidVersion(); v != "" {
		return v, nil
	}
	if v := health.version(); v != "" {
		return v, nil
	}
	if ping.status == http.StatusNoContent || ping.status == http.StatusOK {
		return "of unknown version", nil
	}
	return "", s.notInflux(ping, fmt.Errorf("ask %s for its version: %d %s", s.cfg.URL, ping.status, http.StatusText(ping.status)))
}

// saidVersion is the one in the text of an answer.
func (a *answer) saidVersion() string {
	var v struct {
		Version string `json:"version"`
	}
	_ = json.Unmarshal(a.body, &v)
	return strings.TrimPrefix(v.Version, "v")
}

// checkTarget sends a write without a row: servers look at the token and the
// bucket before they look for rows.
func (s *Sink) checkTarget(ctx context.Context, t *target, version string) sink.Finding {
	f := sink.Finding{Subject: t.bucket}
	if strings.HasPrefix(version, "3.") {
		f.Detail = "InfluxDB 3 makes a database at its first write; whether the token may do that cannot be known without one"
		return f
	}
	a, err := s.do(ctx, http.MethodPost, t.url, "", nil)
	if err != nil {
		f.Problem, f.Detail = true, err.Error()
		return f
	}
	msg := s.said(a)
	err = fmt.Errorf("%d %s: %s", a.status, http.StatusText(a.status), clip(msg))
	if a.status < 300 || (a.status == http.StatusBadRequest && (has(msg, "point") || has(msg, "empty"))) {
		f.Detail = "is there and can be written to"
		return f
	}
	f.Problem, f.Detail = true, err.Error()
	if c, ok := errors.AsType[*sink.ConfigError](s.misconfigured(a, t, msg, err)); ok {
		f.Remedy = c.Remedy
	}
	return f
}
