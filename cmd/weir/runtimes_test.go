package main

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/correlate/enrich/container/runtimes"
)

func TestRuntimeChecks(t *testing.T) {
	found := runtimes.Runtime{Kind: "cri", Status: engine.Status{Socket: "/c", Connected: true, Version: "containerd 1.6"}}
	absent := runtimes.Runtime{Kind: "docker", Presence: engine.Possible, Status: engine.Status{Socket: "/d", Absent: true, Error: "no such file"}}
	named := runtimes.Runtime{Kind: "docker", Presence: engine.Expected, Status: engine.Status{Socket: "/e", Absent: true, Error: "no such file"}}
	failing := runtimes.Runtime{Kind: "podman", Status: engine.Status{Socket: "/f", Error: "i/o\n timeout"}}
	hung := runtimes.Runtime{Kind: "cri", Status: engine.Status{Socket: "/h"}}
	users := runtimes.Runtime{Kind: "podman", User: "1000", Presence: engine.Possible, Status: engine.Status{Socket: "/u", Absent: true, Error: "no such file"}}
	for _, c := range []struct {
		what   string
		all    []runtimes.Runtime
		states string
	}{
		{"one is enough", []runtimes.Runtime{found, absent, users}, "ok info"},
		{"none", []runtimes.Runtime{absent}, "info limited"},
		{"one asked for is missing", []runtimes.Runtime{found, named}, "ok limited"},
		{"not well", []runtimes.Runtime{found, failing, hung}, "ok limited limited"},
	} {
		var states []string
		for _, got := range runtimeChecks(c.all) {
			states = append(states, string(got.State))
			if (got.State == limited) != (got.Remedy != "") || got.Detail == "" || strings.Contains(got.Detail, "\n") {
				t.Errorf("%s: %+v", c.what, got)
			}
		}
		if s := strings.Join(states, " "); s != c.states {
			t.Errorf("%s: %s, want %s", c.what, s, c.states)
		}
	}
}

func TestRuntimesSetting(t *testing.T) {
	load := func(environ []string, flags ...given) ([]string, error) {
		c, err := loadConfig("/dev/null", flags, environ)
		return c.Runtimes, err
	}
	for _, c := range []struct {
		environ []string
		flags   []given
		want    string
	}{
		{nil, nil, "auto"},
		{nil, []given{{"runtime", "none"}}, "none"},
		{[]string{"WEIR_RUNTIME=auto, cri:/x"}, nil, "auto cri:/x"},
		{[]string{"WEIR_RUNTIME=auto"}, []given{{"runtime", "cri:/x"}, {"runtime", "podman:/y"}}, "cri:/x podman:/y"},
	} {
		got, err := load(c.environ, c.flags...)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%v %v: %q, %v", c.environ, c.flags, got, err)
		}
	}
	for _, bad := range []string{"", "docker", "lxd:/x", "cri:x"} {
		if _, err := load(nil, given{"runtime", bad}); err == nil || !strings.Contains(err.Error(), "runtime") && !strings.Contains(err.Error(), "container engine") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
