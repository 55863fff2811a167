package docker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate/enrich/container/docker"
	"github.com/weir-probe/weir/test/machine"
)

// serve answers on a socket of its own as an engine with faults.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return path
}

const version = `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}`

// engine is a healthy engine whose event stream is what the test writes.
type engine struct {
	version string
	list    string
	events  func(w http.ResponseWriter, r *http.Request)
	paths   atomic.Value // string, the last one
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch p := r.URL.Path; {
	case p == "/version":
		io.WriteString(w, e.version)
	case p == "/_ping":
		io.WriteString(w, "OK")
	case strings.HasSuffix(p, "/containers/json"):
		e.paths.Store(p)
		io.WriteString(w, e.list)
	case strings.HasSuffix(p, "/events"):
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		if e.events != nil {
			e.events(w, r)
		}
		<-r.Context().Done()
	default:
		http.NotFound(w, r)
	}
}

func line(w http.ResponseWriter, s string) {
	fmt.Fprintln(w, s)
	w.(http.Flusher).Flush()
}

func created(id, name string) string {
	quoted, _ := json.Marshal(name)
	return fmt.Sprintf(`{"Type":"container","Action":"create","Actor":{"ID":%q,"Attributes":{"name":%s,"image":"i"}},"timeNano":5}`, id, quoted)
}

func TestAPIVersion(t *testing.T) {
	for v, want := range map[string]string{
		version: "/v1.41/containers/json",
		`{"ApiVersion":"1.30","MinAPIVersion":"1.12"}`: "/v1.30/containers/json",
		`{"ApiVersion":"1.52","MinAPIVersion":"1.24"}`: "/v1.41/containers/json",
		`{"ApiVersion":"1.60","MinAPIVersion":"1.44"}`: "/v1.44/containers/json",
	} {
		e := &engine{version: v, list: "[]"}
		c := follow(t, docker.Config{Host: "unix://" + serve(t, e)})
		machine.Until(t, "connected", func() bool { return c.Status().Connected })
		if got := e.paths.Load(); got != want {
			t.Errorf("%s: asked for %v, want %s", v, got, want)
		}
	}
}

func TestEngineFaults(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for what, c := range map[string]struct {
		h    http.Handler
		want string
	}{
		"hung":         {http.HandlerFunc(hang), "timeout|deadline exceeded"},
		"rubbish":      {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }), "decode the engine's version"},
		"other API":    {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }), "no API version"},
		"error":        {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) }), "500"},
		"bad list":     {&engine{version: version, list: `{"message":"x"}`}, "list of containers"},
		"endless body": {http.HandlerFunc(endless), "engine"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cl := follow(t, docker.Config{Host: serve(t, c.h), Timeout: 300 * time.Millisecond})
			machine.Until(t, "failed twice", func() bool { return cl.Stats().Failures >= 2 })
			// want is a pattern: two clocks of one length watch a request, either may ring first
			if s := cl.Status(); s.Connected || !regexp.MustCompile("(?i)"+c.want).MatchString(s.Error) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	chunk := []byte(strings.Repeat("x", 1<<16))
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestEngineThatFallsSilentIsLeft(t *testing.T) {
	id := strings.Repeat("a", 64)
	var hung atomic.Bool
	e := &engine{version: version, list: "[]", events: func(w http.ResponseWriter, _ *http.Request) { line(w, created(id, "web")) }}
	c := follow(t, docker.Config{
		Host: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if hung.Load() {
				<-r.Context().Done()
				return
			}
			e.ServeHTTP(w, r)
		})),
		Timeout: 100 * time.Millisecond, Ping: 20 * time.Millisecond,
	})
	machine.Until(t, "known", func() bool { return c.Lookup(id) != nil })
	hung.Store(true)
	machine.Until(t, "left", func() bool { return !c.Status().Connected && c.Status().Error != "" })
	if got := c.Lookup(id); got == nil || got.Name != "web" {
		t.Errorf("forgotten while the engine is away: %+v", got)
	}
	hung.Store(false)
	machine.Until(t, "back", func() bool { return c.Status().Connected })
}

func TestHostileEvents(t *testing.T) {
	id, huge := strings.Repeat("a", 64), strings.Repeat("b", 64)
	name := "a,b=c \"d\"\n\x1b[31m"
	events := func(w http.ResponseWriter, _ *http.Request) {
		line(w, "not json")
		line(w, `{"Type":"container","Action":"create","Actor":{"ID":"../../etc","Attributes":null}}`)
		line(w, `{"Type":"network","Action":"connect","Actor":{"ID":"x","Attributes":{"container":"/../"}}}`)
		line(w, `[]`)
		line(w, created(id, name))
		line(w, created(huge, strings.Repeat("ü", 4096)))
	}
	c := follow(t, docker.Config{Host: serve(t, &engine{version: version, list: "[]", events: events})})
	machine.Until(t, "known", func() bool { return c.Lookup(huge) != nil })
	if got := c.Lookup(id).Name; got != name {
		t.Errorf("a name is data: %q became %q", name, got)
	}
	if got := c.Lookup(huge).Name; len(got) != 256 {
		t.Errorf("%d octets of name", len(got))
	}
	if s := c.Stats(); s.BadEvents != 2 || s.Containers != 2 {
		t.Errorf("%+v", s)
	}
}

// Ten thousand labels on a container cost nothing that stays, and its neighbours
// have their names.
func TestLabelBomb(t *testing.T) {
	bomb, web := strings.Repeat("a", 64), strings.Repeat("b", 64)
	labels := map[string]string{"com.docker.compose.project": strings.Repeat("p", 4096), "com.docker.compose.service": "s"}
	for i := range 10000 {
		labels[fmt.Sprint("label", i)] = strings.Repeat("v", 60)
	}
	list, err := json.Marshal([]map[string]any{
		{"Id": bomb, "Names": []string{"/bomb"}, "Labels": labels}, {"Id": web, "Names": []string{"/web"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := follow(t, docker.Config{Host: serve(t, &engine{version: version, list: string(list)})})
	machine.Until(t, "known", func() bool { return c.Lookup(web) != nil })
	if got := c.Lookup(bomb); got == nil || got.Name != "bomb" || len(got.Project) != 256 || got.Service != "s" {
		t.Errorf("%+v", got)
	}
}

func TestEndlessEventIsCutOff(t *testing.T) {
	c := follow(t, docker.Config{Host: serve(t, &engine{version: version, list: "[]", events: endless})})
	machine.Until(t, "left", func() bool { return strings.Contains(c.Status().Error, "token too long") || c.Stats().Failures > 1 })
}
