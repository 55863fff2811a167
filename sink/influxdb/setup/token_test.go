package setup

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/influxd"
)

// TestAnInterruptedRunIsDoneAgain: on 1.x, where a password cannot be read back, a run
// that ended between keeping it and making the user leaves a file that the next one
// overwrites; what a server that was made anew does not know is made again, too.
func TestAnInterruptedRunIsDoneAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.StartWithUsers(t, influxd.V1))
	b.o.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(b.o.TokenFile, []byte("weir:of-the-run-before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.apply()
	kept := token(b.o.TokenFile)
	if kept == "weir:of-the-run-before" {
		t.Error("the password is the one that the server never had")
	}
	for _, bucket := range []string{"net", "net_log"} {
		if err := b.write(b.as(kept), bucket, "m v=1i"); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
	}
	if got := steps(b.plan()); got != nil || token(b.o.TokenFile) != kept {
		t.Errorf("another run changes %q", got)
	}
}

// TestAPasswordThatWasChanged: a file whose password the server does not take is no user
// that is as it was.
func TestAPasswordThatWasChanged(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.StartWithUsers(t, influxd.V1))
	b.o.ReadTokenFile = filepath.Join(t.TempDir(), "token")
	b.apply()
	b.QueryInfluxQL(t, "", `SET PASSWORD FOR "weir_reads" = 'another'`)
	_, err := New(t.Context(), b.o)
	if c, ok := errors.AsType[*sink.ConfigError](err); !ok || !strings.Contains(c.Remedy, `DROP USER "weir_reads"`) {
		t.Errorf("a changed password: %v", err)
	}
	b.QueryInfluxQL(t, "", `DROP USER "weir_reads"`)
	if err := os.Remove(b.o.ReadTokenFile); err != nil {
		t.Fatal(err)
	}
	b.apply()
	if got := steps(b.plan()); got != nil {
		t.Errorf("after what the error says another run changes %q", got)
	}
}

// hashing is the server as InfluxDB 2.9 is, which keeps hashes of tokens only: its list
// of them has no token. (2.9 is not to be had here.)
func hashing(t *testing.T, s *influxd.Server) string {
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method != http.MethodGet || r.Request.URL.Path != "/api/v2/authorizations" {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b = regexp.MustCompile(`"token": ?"[^"]+"`).ReplaceAll(b, []byte(`"token":""`))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Length", strconv.Itoa(len(b)))
		return nil
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	return front.URL
}

// TestTokensThatAreNotToldAgain: what is in the file is tried.
func TestTokensThatAreNotToldAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.Start(t, influxd.V2))
	b.o.Server.URL = hashing(t, b.Server)
	dir := t.TempDir()
	b.o.TokenFile, b.o.ReadTokenFile, b.o.NoAlerts = filepath.Join(dir, "write"), filepath.Join(dir, "read"), true
	b.apply()
	if got := steps(b.plan()); got != nil {
		t.Errorf("a second run changes %q", got)
	}
	for _, file := range []string{b.o.TokenFile, b.o.ReadTokenFile} {
		kept, other := token(file), b.o.TokenFile
		if file == other {
			other = b.o.ReadTokenFile
		}
		for _, bad := range []string{"nobody's", token(other)} {
			if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(t.Context(), b.o); err == nil || !strings.Contains(err.Error(), "holds something else") {
				t.Errorf("%s with what is not for it: %v", filepath.Base(file), err)
			}
		}
		if err := os.WriteFile(file, []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
