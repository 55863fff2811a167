package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// pager takes the alerts of a run.
type pager struct {
	*httptest.Server
	started atomic.Uint64 // requests that tell of a container that started
}

func newPager(t *testing.T) *pager {
	p := new(pager)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(b), "container_start") {
			return
		}
		p.started.Add(1)
	}))
	t.Cleanup(p.Close)
	return p
}

// config is a file that has everything told to the pager, and somebody looked into who
// is not there: both have rows about themselves then.
func (p *pager) config(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf("tls: [nobody-of-this-name]\nalerts:\n  wait: 1s\n  every: 1s\n  receivers:\n    - kind: webhook\n      url: %s/\n      severity: info\n", p.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkAlerts: the containers that started have been told.
func (w *world) checkAlerts() {
	if n := w.pager.started.Load(); n == 0 {
		w.t.Error("no alert of a container that started")
	}
}
