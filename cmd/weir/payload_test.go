package main

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

func TestPayloadSettings(t *testing.T) {
	for _, c := range []struct {
		l7      string
		payload bool
		octets  int
		tracker bool
	}{{l7On, true, maxL7Octets, true}, {l7Turns, true, kprobes.PayloadNone, true}, {l7Off, false, maxL7Octets, false}} {
		cfg, err := loadConfig("/dev/null", []given{{"l7", c.l7}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		k := payloadConfig(kprobes.Config{}, &cfg)
		if err := k.Validate(); err != nil {
			t.Errorf("%s: %v", c.l7, err)
		}
		if k.Payload != c.payload || k.PayloadOctets != c.octets || (newTracker(&cfg, nil) != nil) != c.tracker {
			t.Errorf("%s: payload %v of %d octets", c.l7, k.Payload, k.PayloadOctets)
		}
	}
	if _, err := loadConfig("/dev/null", []given{{"l7", "some"}}, nil); err == nil || !strings.Contains(err.Error(), "on, turns, off") {
		t.Errorf("error %v does not name what may be chosen", err)
	}
	cfg := defaultConfig()
	cfg.Host, cfg.L7Octets = "h", maxL7Octets+1
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "l7_octets") {
		t.Errorf("error %v does not name l7_octets", err)
	}
}
