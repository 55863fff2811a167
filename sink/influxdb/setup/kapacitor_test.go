package setup

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink/influxdb/rules"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/kapacitor"
)

// handler is what Kapacitor posts alerts to.
type handler struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string]string // messages by "ID LEVEL"
	n    int
}

func newHandler(t *testing.T) *handler {
	h := &handler{told: map[string]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a struct{ ID, Level, Message string }
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told[a.ID+" "+a.Level] = a.Message
		h.n++
	}))
	t.Cleanup(h.Close)
	return h
}

// has waits until as many alerts as wanted have come, and returns their messages.
func (h *handler) has(t *testing.T, want int) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		h.mu.Lock()
		n := h.n
		h.mu.Unlock()
		if n >= want {
			break
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n != want {
		t.Errorf("the handler was told of %d changes, want %d", h.n, want)
	}
	return maps.Clone(h.told)
}

func idOf(r *rules.Rule, who string) string {
	id := "weir " + r.Name
	for _, tag := range slices.Sorted(slices.Values(r.By)) {
		id += fmt.Sprintf(" %s=%s-%s", tag, who, tag)
	}
	return id
}

// TestScriptsTellWhatIsWrong: a real Kapacitor takes every script, and on what a real
// InfluxDB holds each alerts for what is wrong and for nothing else, and says when it is
// well again. Who handles the topic is told.
func TestScriptsTellWhatIsWrong(t *testing.T) {
	b := newBed(t, influxd.Start(t, influxd.V1))
	b.QueryInfluxQL(t, "", `CREATE DATABASE "net"`)
	k, h := kapacitor.Start(t, b.URL, Scripts("net", "autogen")), newHandler(t)
	if got := k.Running(t); len(got) != len(rules.All())+1 {
		t.Errorf("it runs %v", got)
	}
	k.Handle(t, "weir", "post", map[string]any{"url": h.URL})
	real, silent := time.Now(), rules.Silent()
	now := real.Add(-2 * rules.Window) // it asks nothing of the future
	over := now.Add(rules.Window)
	b.breakEverything(now, over)
	alive := fmt.Sprintf("%s,host=good-host,stage=process %s=1i %d", silent.Measurement, silent.Field, real.Add(-30*time.Second).UnixNano())
	if err := b.write(b.admin(), "net", alive); err != nil {
		t.Fatal(err)
	}
	k.Replay(t, file(silent.Name), real.Add(-rules.Every), real)
	levels := map[string]string{"warn": "WARNING", "crit": "CRITICAL"}
	want := map[string][]string{"weir " + silent.Name + " host=bad-host CRITICAL": {silent.Meaning}}
	for _, r := range rules.All() {
		k.Replay(t, file(r.Name), now.Add(-rules.Every), over) // minute by minute
		_, level := worst(&r)
		for _, who := range []string{"bad", "new"} {
			want[idOf(&r, who)+" "+levels[level]] = append([]string{r.Meaning, who + "-host"}, r.Details...)
			want[idOf(&r, who)+" OK"] = []string{who + "-host"}
		}
	}
	told := h.has(t, len(want))
	for id, texts := range want {
		for _, text := range texts {
			if !strings.Contains(told[id], text) {
				t.Errorf("%s: %q does not tell %q", id, told[id], text)
			}
		}
		delete(told, id)
	}
	if len(told) > 0 {
		t.Errorf("told of %v, too", told)
	}
	if n := len(k.Events(t, "weir")); n != len(want)/2+1 {
		t.Errorf("the topic has %d states", n)
	}
}
