package setup

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/kapacitor"
)

// TestScriptsTellWhatIsWrong: a real Kapacitor takes every script, and on what a
// real InfluxDB holds each alerts for what is wrong and for nothing else.
func TestScriptsTellWhatIsWrong(t *testing.T) {
	b := newBed(t, influxd.Start(t, influxd.V1))
	b.QueryInfluxQL(t, "", `CREATE DATABASE "net"`)
	k := kapacitor.Start(t, b.URL, Scripts("net", "autogen"))
	if got := k.Running(t); len(got) != len(alerts())+1 {
		t.Errorf("it runs %v", got)
	}
	now := time.Now()
	b.breakEverything(now)
	k.Replay(t, file(silence.name), now.Add(-silence.forget), now)
	for _, a := range alerts() {
		k.Replay(t, file(a.name), now.Add(-a.every), now)
	}
	levels := map[string]string{"warn": "WARNING", "crit": "CRITICAL"}
	want := map[string][2]string{"weir " + silence.name + " host=bad-host": {"CRITICAL", silence.meaning}}
	for _, a := range alerts() {
		id := "weir " + a.name
		for _, tag := range slices.Sorted(slices.Values(a.by)) {
			id += " " + tag + "=bad-" + tag
		}
		_, level := a.worst()
		want[id] = [2]string{levels[level], a.meaning}
	}
	for _, e := range k.Events(t, "weir") {
		w, ok := want[e.ID]
		if !ok || e.Level != w[0] || !strings.Contains(e.Message, w[1]) || !strings.Contains(e.Message, "host bad-host") {
			t.Errorf("%+v, want %q", e, w)
		}
		delete(want, e.ID)
	}
	if len(want) > 0 {
		t.Errorf("nothing is told of %v", want)
	}
}
