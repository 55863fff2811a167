package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/kprobes"
)

func TestTLSSettings(t *testing.T) {
	cfg, err := loadConfig("/dev/null", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k := payloadConfig(kprobes.Config{}, &cfg); k.TLS || len(cfg.TLS) != 0 || newInsideTLS(&cfg, noSockets{}, nil) != nil {
		t.Errorf("without being asked: %v, %v", k.TLS, cfg.TLS)
	}
	if c := examineTLS(&cfg); c.State != plain || !strings.HasPrefix(c.Detail, "off") {
		t.Errorf("%+v", c)
	}
	cfg, err = loadConfig("/dev/null", []given{{"tls", "web-*"}, {"tls", "shop/*"}}, []string{"WEIR_TLS=db"})
	if err != nil || !slices.Equal(cfg.TLS, []string{"web-*", "shop/*"}) || !payloadConfig(kprobes.Config{}, &cfg).TLS {
		t.Errorf("%v, %v", cfg.TLS, err)
	}
	for _, bad := range [][]given{{{"tls", "[a"}}, {{"tls", ""}}, {{"tls", "web"}, {"l7", "turns"}}, {{"tls", "web"}, {"l7", "off"}}} {
		if cfg, err := loadConfig("/dev/null", bad, nil); err == nil || !strings.Contains(err.Error(), "tls") {
			t.Errorf("%v: %v, %v", bad, cfg.TLS, err)
		}
	}
}

func TestTLSDirectory(t *testing.T) {
	i := insideTLS{mounts: []cgroup.Mount{
		{Hierarchy: cgroup.Unified, Dir: "/sys/fs/cgroup/unified", View: cgroup.Whole},
		{Hierarchy: cgroup.Legacy, Dir: "/m", Prefix: "/docker/abc", View: cgroup.Part},
	}}
	for _, c := range []struct {
		h        cgroup.Hierarchy
		path     string
		want     string
		readable bool
	}{
		{cgroup.Unified, "/system.slice/nginx.service", "/sys/fs/cgroup/unified/system.slice/nginx.service", true},
		{cgroup.Legacy, "/docker/abc/x", "/m/x", true},
		{cgroup.Legacy, "/docker/abcdef", "", false},
	} {
		if got, ok := i.directory(c.h, c.path); got != c.want || ok != c.readable {
			t.Errorf("%s is at %q, %v", c.path, got, ok)
		}
	}
}

// TestSettingsThatWait: which settings of payload a reload cannot bring into force.
func TestSettingsThatWait(t *testing.T) {
	started, err := loadConfig("/dev/null", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := kernelSide{loaded: payloadConfig(kprobes.Config{}, &started)}
	for _, c := range []struct {
		change func(*Config)
		want   []string
	}{
		{func(*Config) {}, nil},
		{func(c *Config) { c.TLS = []string{"web"} }, nil},
		{func(c *Config) { c.L7 = l7Off }, []string{"l7"}},
		{func(c *Config) { c.L7 = l7Turns }, []string{"l7"}},
		{func(c *Config) { c.L7Octets = 100 }, []string{"l7_octets"}},
		{func(c *Config) { c.L7, c.L7Rate = l7Off, 1 }, []string{"l7", "l7_rate"}},
	} {
		cfg := started
		c.change(&cfg)
		if got := k.payloadWaits(&cfg); !slices.Equal(got, c.want) {
			t.Errorf("%s, %d octets, %d per second: %v, want %v", cfg.L7, cfg.L7Octets, cfg.L7Rate, got, c.want)
		}
	}
}
