package tcx

import (
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	d := DefaultConfig()
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Mode: "xdp"}, {Interfaces: []string{"a[" /* no range */}}, {Interfaces: []string{"!"}}, {TCPIdle: -time.Second}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is not valid", c)
		}
	}
}

func TestWants(t *testing.T) {
	for _, tt := range []struct {
		globs []string
		name  string
		want  bool
	}{
		{nil, "eth0", true},
		{[]string{"eth*"}, "eth0", true},
		{[]string{"eth*"}, "lo", false},
		{[]string{"!lo"}, "eth0", true},
		{[]string{"!lo"}, "lo", false},
		{[]string{"eth*", "!eth1"}, "eth1", false},
	} {
		c := Config{Interfaces: tt.globs}
		if got := c.wants(tt.name); got != tt.want {
			t.Errorf("%v wants %s: %v", tt.globs, tt.name, got)
		}
	}
}
