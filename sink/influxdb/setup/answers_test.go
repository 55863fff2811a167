package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/influxdb/rules"
)

// core3 answers as InfluxDB 3 Core is documented to: it is not to be had here.
// /api/v3/configure/database lists [{"iox::database": NAME}], and makes a
// database of {"db": NAME, "retention_period": "7d"}.
func core3(t *testing.T, databases map[string]string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"version":"3.8.0","revision":"x","process_id":"y"}`)
		w.Header().Set("Content-Type", "application/json")
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "OK")
	})
	mux.HandleFunc("GET /api/v3/configure/database", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("format") != "json" {
			t.Error("asked without a format")
		}
		list := []map[string]string{}
		for name := range databases {
			list = append(list, map[string]string{"iox::database": name})
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /api/v3/configure/database", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in["db"] == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		databases[in["db"]] = in["retention_period"]
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Token admin" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestInfluxDB3(t *testing.T) {
	databases := map[string]string{"_internal": ""}
	o := Options{Server: influxdb.Config{URL: core3(t, databases).URL, Token: "admin"}, TokenFile: "-"}
	p, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(databases) != 1 {
		t.Errorf("the plan made %v", databases)
	}
	if err := p.Apply(t.Context(), func(Step) {}); err != nil {
		t.Fatal(err)
	}
	if databases["weir"] != "7d" || databases["weir_log"] != "24h" || len(databases) != 3 {
		t.Errorf("made %v", databases)
	}
	if p.Count(Note) != 3 {
		t.Errorf("no word about what InfluxDB 3 cannot do: %v", p.Steps)
	}
	o.Keep[Raw] = 30 * day
	if p, err = New(t.Context(), o); err != nil || p.Changes() != 0 {
		t.Errorf("a second run: %v, %v", p, err)
	}
	o.Server.Token = "wrong"
	if _, err := New(t.Context(), o); err == nil {
		t.Error("a wrong token is taken")
	}
}

func TestNotAServer(t *testing.T) {
	answer := func(version string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if version != "" {
				w.Header().Set("X-Influxdb-Version", version)
			}
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, c := range []struct{ url, want string }{
		{"http://127.0.0.1:1", "connection refused"},
		{answer("1.6.7"), "1.8 or later, 2.x, 3 Core"},
		{answer("9.0.0"), "InfluxDB 9.0.0"},
		{answer("x"), "InfluxDB x"},
		{answer(""), "of unknown version"},
		{"ftp://x", "write it like"},
	} {
		_, err := New(t.Context(), Options{Server: influxdb.Config{URL: c.url}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
	_, err := New(t.Context(), Options{Server: influxdb.Config{URL: answer("1.6.7")}})
	if _, ok := errors.AsType[*sink.ConfigError](err); !ok {
		t.Errorf("%v is not one that says what to do", err)
	}
}

// TestAServerWithoutUsers answers whatever it is asked that it does not know who asks.
func TestAServerWithoutUsers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Influxdb-Version", "v2.7.12")
		switch r.URL.Path {
		case "/api/v2/setup":
			fmt.Fprint(w, `{"allowed":true}`)
		case "/ping":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":"unauthorized","message":"unauthorized access"}`)
		}
	}))
	t.Cleanup(s.Close)
	_, err := New(t.Context(), Options{Server: influxdb.Config{URL: s.URL, Org: "o", Token: "t"}})
	if c, ok := errors.AsType[*sink.ConfigError](err); !ok || !strings.Contains(c.Remedy, "influx setup") {
		t.Errorf("%v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]Options{
		"an hour at least":     {Keep: [Places]time.Duration{Minute: time.Minute}},
		"cannot contain ':'":   {User: "a:b"},
		`"c:d"`:                {ReadUser: "c:d"},
		"are two":              {User: "a", ReadUser: "a"},
		"name two files":       {TokenFile: "-", ReadTokenFile: "-"},
		"cannot be understood": {NotifyURL: "nowhere"},
	} {
		if _, err := New(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	err := (&Options{TokenFile: "f", Server: influxdb.Config{TokenFile: "f"}}).writable()
	if err == nil || !strings.Contains(err.Error(), "administrator") {
		t.Errorf("the administrator's token would be written over: %v", err)
	}
}

func TestMark(t *testing.T) {
	m := mark{3, "my bucket/x", hash("x")}
	if got, ok := parseMark("About it. " + m.String()); !ok || got != m {
		t.Errorf("%v, %v of %s", got, ok, m)
	}
	for _, s := range []string{"", "theirs", m.String() + " edited", "[weir setup v1 net]"} {
		if got, ok := parseMark(s); ok {
			t.Errorf("%q is ours: %v", s, got)
		}
	}
}

// FuzzParseMark: whatever a server lists as a description, what is taken for ours
// is what a mark of ours says again.
func FuzzParseMark(f *testing.F) {
	f.Add("adds up. [weir setup v1 net 0a1b2c3d]")
	f.Add("[weir setup v99999999999999999999 net 0a1b2c3d]")
	f.Add("[weir setup v1 %zz 0a1b2c3d]")
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMark(s)
		if !ok {
			return
		}
		if again, ok := parseMark(m.String()); !ok || again != m {
			t.Errorf("%q is %v, which is %v, %v", s, m, again, ok)
		}
	})
}

// TestScripts writes TICKscripts into a folder, and leaves there what is not ours.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	o := Options{KapacitorDir: dir}
	theirs := filepath.Join(dir, file(rules.Silent().Name)+".tick")
	if err := os.WriteFile(theirs, []byte("// by hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	places := places{Raw: {name: "net"}}
	plan := func() *Plan {
		p := &Plan{}
		if err := o.files(p, places); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := plan()
	if p.Count(Create) != len(rules.All()) || p.Count(Note) != 1 {
		t.Errorf("%v", p.Steps)
	}
	if err := p.Apply(t.Context(), func(Step) {}); err != nil {
		t.Fatal(err)
	}
	if p := plan(); p.Changes() != 0 {
		t.Errorf("a second run changes %q", steps(p))
	}
	for name, text := range map[string]string{"old.tick": generated + "\n" + dbrp("net", "autogen"), "other.tick": generated + "\n" + dbrp("other", "autogen"), "own.tick": dbrp("net", "autogen")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := steps(plan()); len(got) != 1 || !strings.HasPrefix(got[0], "remove TICKscript "+filepath.Join(dir, "old.tick")) {
		t.Errorf("with one of an older Weir: %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "old.tick")); err != nil {
		t.Fatal(err)
	}
	places[Raw].policy = "short"
	if p := plan(); p.Count(Change) != len(rules.All()) {
		t.Errorf("for another policy: %q", steps(p))
	}
	if b, _ := os.ReadFile(theirs); string(b) != "// by hand\n" {
		t.Errorf("a script by hand is now %q", b)
	}
	o.KapacitorDir = theirs
	if err := o.files(&Plan{}, places); err == nil {
		t.Error("a file is taken for a folder")
	}
	names := slices.Collect(func(yield func(string) bool) {
		for n := range Scripts("weir", "autogen") {
			if !yield(n) {
				return
			}
		}
	})
	if len(names) != len(rules.All())+1 {
		t.Errorf("two alerts have one file: %v", names)
	}
}
