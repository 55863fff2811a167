package enrich

import (
	"testing"

	"github.com/weir-probe/weir/correlate"
)

// A group has the name, and the kind, that the ends of its processes have.
func TestGroup(t *testing.T) {
	c, err := New(Config{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		ct   *correlate.Container
		unit string
		name string // "": none
		kind correlate.Kind
	}{
		{&correlate.Container{ID: "1", Name: "web-1", Project: "shop", Service: "web"}, "", "shop/web", correlate.KindContainer},
		{&correlate.Container{ID: "2", Name: "box"}, "x.service", "box", correlate.KindContainer},
		{&correlate.Container{ID: "3", Pod: correlate.Pod{UID: "u", Namespace: "prod", Name: "api-1", Workload: "api"}}, "", "prod/api", correlate.KindPod},
		{nil, "nginx.service", "nginx", correlate.KindProcess},
		{nil, "session-3.scope", "", 0},
		{nil, "", "", 0},
	} {
		e := correlate.Endpoint{Name: "left over", Process: &correlate.Process{}}
		ok := c.Group(&e, x.ct, x.unit)
		if ok != (x.name != "") || ok && (e.Name != x.name || e.Kind != x.kind || e.Contain != x.ct || e.Process != nil) {
			t.Errorf("%+v %q: %v, %+v", x.ct, x.unit, ok, e)
		}
	}
}
