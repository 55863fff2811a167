package kprobes

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/bpf"
)

// TestTLSStatsOrder: the Go counters are as many as enum tls_stat has.
func TestTLSStatsOrder(t *testing.T) {
	spec, err := bpf.LoadTls()
	if err != nil {
		t.Fatal(err)
	}
	if n := spec.Maps["tls_stats"].MaxEntries; n != tlsStats {
		t.Errorf("the kernel has %d counters, Go %d", n, tlsStats)
	}
	var st TLSStats
	for i, p := range st.kernel() {
		*p = uint64(i + 1)
	}
	if fmt.Sprint(st) != fmt.Sprint(TLSStats{1, 2, 3, 4, 5, 6}) {
		t.Errorf("out of order: %+v", st)
	}
}

// TestTLSPrograms: every program of the object has somebody who loads it.
func TestTLSPrograms(t *testing.T) {
	spec, err := bpf.LoadTls()
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Clone(userPrograms)
	for i := range probes {
		if probes[i].tls {
			known = append(known, probes[i].program)
		}
	}
	for name := range spec.Programs {
		if !slices.Contains(known, name) {
			t.Errorf("nobody loads %s", name)
		}
	}
	if len(known) != len(spec.Programs) {
		t.Errorf("%d programs are loaded, the object has %d", len(known), len(spec.Programs))
	}
}

func TestTLSConfig(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		bad string
	}{
		{Config{}, ""},
		{Config{TLS: true}, "payload must be copied"},
		{Config{TLS: true, Payload: true, PayloadOctets: PayloadNone}, "payload must be copied"},
		{Config{TLS: true, Payload: true}, ""},
	} {
		if c.cfg.TLS && runtime.GOARCH != "amd64" {
			c.bad = "only on amd64"
		}
		err := c.cfg.Validate()
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.bad)
		}
	}
}

// TestKernelTLSOff: without being asked for, no program and no map inside TLS is
// there.
func TestKernelTLSOff(t *testing.T) {
	f := attach(t, Config{Payload: true})
	for _, name := range userPrograms {
		if f.set.UserProgram(name) != nil {
			t.Errorf("%s is loaded", name)
		}
	}
	if err := f.set.TLSReady(); err == nil || f.set.maps[objTLS] != nil || f.set.TLSStats() != (TLSStats{}) {
		t.Errorf("ready: %v", err)
	}
	if err := f.set.SelectTLS(TLSGroup{ID: 1}, true); err != nil {
		t.Error(err)
	}
}

// TestKernelTLSLoads: this kernel takes every program.
func TestKernelTLSLoads(t *testing.T) {
	f := attach(t, Config{Payload: true, TLS: true})
	f.need("tls_received")
	if err := f.set.TLSReady(); err != nil {
		t.Fatalf("%+v", err)
	}
	for _, on := range []bool{true, true, false, false} {
		if err := f.set.SelectTLS(TLSGroup{ID: 1, Legacy: 1}, on); err != nil {
			t.Error(err)
		}
	}
}

// TestKernelTLSSwitched: what looks inside TLS comes and goes while the rest goes on, as
// often as a configuration changes, and leaves nothing behind.
func TestKernelTLSSwitched(t *testing.T) {
	f := attach(t, Config{Payload: true})
	links, programs := len(f.set.links), len(f.set.programs)
	for range 2 {
		if err := f.set.SetTLS(true); err != nil {
			t.Fatal(err)
		}
		f.need("tls_received")
		if err := f.set.TLSReady(); err != nil {
			t.Fatalf("%+v", err)
		}
		for _, name := range userPrograms {
			if f.set.UserProgram(name) == nil {
				t.Errorf("%s is not loaded", name)
			}
		}
		if err := f.set.SelectTLS(TLSGroup{ID: 1}, true); err != nil {
			t.Error(err)
		}
		if err := f.set.SetTLS(false); err != nil {
			t.Error(err)
		}
		if st := f.set.status[probeIndex("tls_received")]; st.State != StateOff || f.set.TLSReady() == nil || f.set.maps[objTLS] != nil {
			t.Errorf("switched off: %+v", st)
		}
		if len(f.set.links) != links || len(f.set.programs) != programs {
			t.Errorf("%d links and %d programs are left, %d and %d were there", len(f.set.links), len(f.set.programs), links, programs)
		}
	}
	for i := range probes {
		if st := f.set.status[i]; !probes[i].tls && st.State == StateFailed {
			t.Errorf("%+v", st)
		}
	}
}

// TestKernelTLSNotWithoutPayload: what payload there is was decided at the start.
func TestKernelTLSNotWithoutPayload(t *testing.T) {
	f := attach(t, Config{})
	if err := f.set.SetTLS(true); err == nil || !strings.Contains(err.Error(), "payload must be copied") {
		t.Errorf("%v", err)
	}
	if err := f.set.SetTLS(false); err != nil {
		t.Error(err)
	}
}
