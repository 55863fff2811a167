package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/cmd/weir/internal/explain"
)

func TestChoose(t *testing.T) {
	all := []*explain.Connection{{}, {}, {}}
	for in, want := range map[string]*explain.Connection{"2\n": all[1], " 3 \n": all[2], "1": all[0], "\n": nil, "": nil} {
		var out bytes.Buffer
		got, err := choose(all, strings.NewReader(in), &out)
		if err != nil || got != want {
			t.Errorf("%q: %p, %v", in, got, err)
		}
		if out.String() != "explain which one, 1 to 3? " {
			t.Errorf("asked %q", out.String())
		}
	}
	for _, in := range []string{"0\n", "4\n", "x\n", "-1\n", strings.Repeat("1", 100)} {
		if c, err := choose(all, strings.NewReader(in), &bytes.Buffer{}); c != nil || statusOf(err) != statusUsage {
			t.Errorf("%q: %p, %v", in, c, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 30, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"03:12": "2026-11-22T03:12:00Z 1m0s", "03:12:05": "2026-11-22T03:12:05Z 1s", "22:00": "2026-11-21T22:00:00Z 1m0s",
		"2026-11-20 03:12": "2026-11-20T03:12:00Z 1m0s", "2026-11-20T03:12:05+01:00": "2026-11-20T02:12:05Z 1s",
	} {
		at, width, err := parseTime(in, now)
		if got := at.UTC().Format(time.RFC3339) + " " + width.String(); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "now", "25:00", "2026-13-01 00:00"} {
		if at, _, err := parseTime(in, now); err == nil {
			t.Errorf("%q is %s", in, at)
		}
	}
}
