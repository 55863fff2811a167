package cgroup

import (
	"strings"
	"testing"
)

// What is read for a container or a service is its own group: not one inside of it,
// nor the slice around it.
func TestTop(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for path, want := range map[string]bool{
		"/":                                    false,
		"/docker":                              false,
		"/docker/" + a:                         true,
		"/docker/" + a + "/init":               false,
		"/docker/" + a + "/docker/" + b:        false,
		"/docker/" + a + "/x.service":          false,
		"/system.slice":                        false,
		"/system.slice/docker-" + a + ".scope": true,
		"/system.slice/nginx.service":          true,
		"/system.slice/nginx.service/worker":   false,
		"/system.slice/system-pg.slice/postgresql@15.service":                     true,
		"/user.slice/user-1000.slice/session-3.scope":                             false,
		"/kubepods/burstable/pod6fa459ea-ee8a-3ca4-894e-db77e160355e":             false,
		"/kubepods/burstable/pod6fa459ea-ee8a-3ca4-894e-db77e160355e/" + a:        true,
		"/kubepods/burstable/pod6fa459ea-ee8a-3ca4-894e-db77e160355e/" + a + "/b": false,
		"/lxc.payload.web":                             true,
		"/lxc.payload.web/system.slice/x.service":      false,
		"/machine.slice/libpod-" + a + ".scope":        true,
		"/machine.slice/libpod-conmon-" + a + ".scope": false,
	} {
		tab := New(Config{})
		tab.Cgroup(created(1, true, path, 5))
		if g := tab.Lookup(Unified, 1); g.Top != want || g.Born != 5 {
			t.Errorf("%s: %v, born %d", path, g.Top, g.Born)
		}
	}
}

func TestEachLives(t *testing.T) {
	tab := New(Config{})
	tab.Cgroup(created(1, true, "/a", 1))
	tab.Cgroup(created(2, true, "/b", 2))
	tab.Cgroup(created(2, false, "/b", 3))
	tab.Cgroup(removed(1, true, 4))
	var got []string
	tab.Each(func(g *Group) { got = append(got, g.Path) })
	if strings.Join(got, " ") != "/b /b" {
		t.Errorf("%q", got)
	}
}
