package dns

import "testing"

// The service is the one that was asked for, in the namespace of who asked, and of no more
// than may be shown.
func TestService(t *testing.T) {
	table := New(Config{MaxNames: 1})
	ask(t, table, 100*sec, "api.shop.svc.cluster.local.", 60, "10.96.0.7")
	ask(t, table, 100*sec, "db.shop.svc.cluster.local.", 60, "10.96.0.8")
	ask(t, table, 100*sec, "www.example.com.", 60, "192.0.2.1")
	for _, x := range []struct {
		a     string
		netns uint32
		want  string
	}{{"10.96.0.7", 5, "api"}, {"10.96.0.8", 5, ""}, {"10.96.0.7", 5, "api"}, {"10.96.0.7", 6, ""}, {"192.0.2.1", 5, ""}, {"10.96.0.9", 5, ""}} {
		if got := table.Service(addr(x.a), x.netns, 101*sec); got != x.want {
			t.Errorf("%s in %d is %q, want %q", x.a, x.netns, got, x.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { table.Service(addr("10.96.0.7"), 5, 101*sec) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestServiceOf(t *testing.T) {
	for name, want := range map[string]string{
		"api.shop.svc.cluster.local":           "api",
		"db-0.db.shop.svc.cluster.local":       "db",
		"_http._tcp.api.shop.svc.example":      "api",
		"api.shop.svc":                         "",
		"api.shop.svc.":                        "",
		"shop.svc.cluster.local":               "",
		".shop.svc.cluster.local":              "",
		"api..svc.cluster.local":               "",
		"10-0-0-1.shop.pod.cluster.local":      "",
		"svc.cluster.local":                    "",
		"www.example.com":                      "",
		"":                                     "",
		"..svc.x":                              "",
		"a.svc.b.svc.cluster.local":            "",
		"metrics.api.shop.svc.a.svc.b.example": "api",
	} {
		if got := serviceOf(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
