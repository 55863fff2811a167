package influxdb

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-probe/weir/sink"
)

// misconfigured explains an answer that will not change until somebody changes
// something; nil: it is not one.
func (s *Sink) misconfigured(a *answer, t *target, msg string, err error) error {
	remedy := ""
	switch {
	case a.status == http.StatusUnauthorized:
		remedy = s.wrongSecret(a)
	case a.status == http.StatusForbidden:
		remedy = s.notAllowed(t)
	case a.status == http.StatusProxyAuthRequired:
		remedy = "a proxy asks for a password: set HTTPS_PROXY with it, or NO_PROXY for this host"
	case has(msg, "organization") && has(msg, "not found"), has(msg, "provide either orgid or org"):
		remedy = fmt.Sprintf("set the organization with --influxdb-org or INFLUX_ORG (it is %q; `influx org list` shows the names)", s.cfg.Org)
	case has(msg, "retention policy not found"):
		remedy = fmt.Sprintf("create the retention policy or name another one; bucket %q is database/retention policy here", t.bucket)
	case a.status == http.StatusNotFound && has(msg, "not found") && (has(msg, "bucket") || has(msg, "database")):
		remedy = s.missing(a, t)
	case a.status == http.StatusNotFound:
		remedy = s.noEndpoint(a)
	}
	if remedy == "" {
		return nil
	}
	return &sink.ConfigError{Remedy: remedy, Err: err}
}

func (s *Sink) wrongSecret(a *answer) string {
	switch {
	case s.cfg.Username != "":
		return fmt.Sprintf("user %q or its password is not right", s.cfg.Username)
	case s.cfg.TokenFile != "":
		return fmt.Sprintf("the token in %s is not valid on this server (it is read again at each try)", s.cfg.TokenFile)
	case *s.token.Load() == "" && strings.HasPrefix(a.version(), "1."):
		return "the server asks for a user: set username and password"
	case *s.token.Load() == "":
		return "the server asks for a token: set INFLUX_TOKEN or --influxdb-token-file"
	}
	return "the token is not valid on this server: set INFLUX_TOKEN or --influxdb-token-file"
}

func (s *Sink) notAllowed(t *target) string {
	if s.cfg.v1() {
		db, _, _ := strings.Cut(t.bucket, "/")
		return fmt.Sprintf("let the user write: GRANT WRITE ON %q TO %q", db, s.cfg.Username)
	}
	return fmt.Sprintf("the token may not write to bucket %q of organization %q: make one that may with `influx auth create --org %s --write-bucket ID` (ID from `influx bucket list`), for both %s and %s",
		t.bucket, s.cfg.Org, s.cfg.Org, s.cfg.Bucket, s.cfg.LogBucket)
}

func (s *Sink) missing(a *answer, t *target) string {
	keep, option := "7d", "bucket"
	if t.stream == sink.Log {
		keep, option = "24h", "log_bucket"
	}
	if s.cfg.v1() || strings.HasPrefix(a.version(), "1.") {
		db, _, _ := strings.Cut(t.bucket, "/")
		if t.stream == sink.Log {
			option = "log_database"
		} else {
			option = "database"
		}
		return fmt.Sprintf("create it: CREATE DATABASE %q WITH DURATION %s, or run `weir setup influxdb`, or name another with %s", db, keep, option)
	}
	return fmt.Sprintf("create it: `influx bucket create --org %s --name %s --retention %s`, or run `weir setup influxdb`, or name another with %s; a bucket that the token may not see is also \"not found\"",
		s.cfg.Org, t.bucket, keep, option)
}

func (s *Sink) noEndpoint(a *answer) string {
	if v := a.version(); v != "" && older(v) {
		return fmt.Sprintf("this is InfluxDB %s, which has no /api/v2/write: Weir needs 1.8 or later", clip(s.redact(v)))
	}
	return fmt.Sprintf("there is no /api/v2/write at %s: check the URL; InfluxDB 1.8 or later has it", s.cfg.URL)
}

// noRoom explains a full disk. 1.8 and 2.7 do not try again what they could not write to
// their log or could not open once: they refuse rows until they are started again.
const noRoom = "make room on the disk of the server, or let it keep rows for a shorter time; where it has room and goes on saying so, restart it: InfluxDB does not recover by itself"

// acceptable says what would have made the server take rows that it refused for good.
func acceptable(reason string) string {
	switch reason {
	case sink.ReasonRetention:
		return "they are older than the server keeps rows: if their time is wrong, set the clock of this host or of the server; if they waited for the server, give the bucket or database a longer retention"
	case sink.ReasonType:
		return "somebody wrote a field of that name with another type before: delete those rows, or give Weir a bucket or database of its own"
	}
	return ""
}

// older says whether a version has no v2 write endpoint.
func older(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(major)
	y, err2 := strconv.Atoi(minor)
	return err == nil && err2 == nil && (x < 1 || x == 1 && y < 8)
}
