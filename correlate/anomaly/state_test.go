package anomaly

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// busyRig has learnt, and something of everything goes on.
func busyRig(t testing.TB) *rig {
	rnd := rand.New(rand.NewPCG(4, 4))
	r := newRig(t, Config{})
	dns := func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		r.d.Query(1, question(fmt.Sprintf("%016x.av.example", rnd.Uint64())))
		return rs
	}
	r.run(30*time.Hour, shop(rnd, dns))
	r.run(20*time.Minute, shop(rnd, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.RTT.Sum += 50e6
		return append(rs, talk(web, elsewhere("c2.example.net", "203.0.113.4"), 443, 10, 10), refusal(web, db, 1))
	}))
	return r
}

// What is read back is what was written, to the octet, and judges alike.
func TestStateRoundTrip(t *testing.T) {
	r := busyRig(t)
	b := r.d.AppendState([]byte("before"))[len("before"):]
	d, err := Restore(Config{}, b, r.now)
	if err != nil {
		t.Fatal(err)
	}
	d.last = r.d.last
	was, is := r.d.Stats(), d.Stats()
	if was.Edges != is.Edges || was.Nodes != is.Nodes || was.Profiles != is.Profiles || was.Alarms != is.Alarms || is.Alarms < 2 || is.Learning || d.attempts != r.d.attempts || d.beacons != r.d.beacons || d.beacons == 0 {
		t.Errorf("\nwas %+v\nis  %+v", was, is)
	}
	again := d.AppendState(nil)
	if len(again) != len(b) { // maps have no order
		t.Errorf("%d octets, then %d", len(b), len(again))
	}
	d.last = 0
	r.d = d
	rnd := rand.New(rand.NewPCG(6, 6))
	as := r.run(2*time.Hour, shop(rnd, nil))
	r.want(as, "")
	ended := map[Type]bool{}
	for _, a := range as {
		ended[a.Type] = true
	}
	if !ended[Latency] || !ended[NewDestination] || len(r.d.alarms.active) != 0 {
		t.Errorf("what began before does not end after: %v", ended)
	}
	r.want(r.run(15*time.Minute, shop(rnd, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Payload *= 9
		return rs
	})), "volume")
}

// What version 1 wrote is read: edges, their usual and what goes on; what it did not keep
// is taken from what it did, and so widely that nothing is told for it.
func TestOldState(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "state-v1"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Config{})
	r.now = start.Add(2*day + 10*time.Hour + 10*time.Minute)
	if r.d, err = Restore(Config{}, b, r.now); err != nil {
		t.Fatal(err)
	}
	if s := r.d.Stats(); s.Edges != 5 || s.Profiles != 5 || s.Alarms != 2 || s.Learning {
		t.Fatalf("%+v", s)
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	r.want(r.run(2*time.Hour, shop(rnd, nil)), "")
	if len(r.d.alarms.active) != 0 {
		t.Errorf("what began before does not end: %v", r.d.alarms.active)
	}
	r.want(r.run(15*time.Minute, shop(rnd, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Payload *= 20
		return rs
	})), "volume")
	now, err := Restore(Config{}, r.d.AppendState(nil), r.now) // in today's version from then on
	if err != nil || now.Stats().Profiles != 5 {
		t.Errorf("%v, %+v", err, now.Stats())
	}
	b[8] = 0 // a version that never was
	if _, err := Restore(Config{}, b, r.now); err == nil || !strings.Contains(err.Error(), "version 0, this weir reads 1 to 2") {
		t.Error(err)
	}
}

// After a pause nothing that was missed is quiet, and nothing is new.
func TestRestart(t *testing.T) {
	r := busyRig(t)
	r.run(2*time.Hour, shop(rand.New(rand.NewPCG(6, 6)), nil))
	d, err := Restore(Config{}, r.d.AppendState(nil), r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.d, r.now = d, r.now.Add(5*time.Hour)
	as := r.run(5*time.Hour, shop(rand.New(rand.NewPCG(7, 6)), func(now time.Time, rs []*correlate.Record) []*correlate.Record { return rs }))
	r.want(as, "")
	// Long after, everything is learnt anew.
	d, err = Restore(Config{}, r.d.AppendState(nil), r.now.Add(60*day))
	if err != nil || d.Stats().Edges != 0 || !d.Stats().Learning {
		t.Errorf("%v, %+v", err, d.Stats())
	}
}

// A start late in a minute is followed by as long a silence as any.
func TestStartLateInAMinute(t *testing.T) {
	cfg := Config{Learn: 20 * time.Second}
	r := learnt(t, cfg)
	d, err := Restore(cfg, r.d.AppendState(nil), r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.d, r.step, r.now = d, time.Second, r.now.Add(45*time.Second)
	r.want(r.run(15*time.Second, with(func(time.Time) []*correlate.Record { return []*correlate.Record{talk(web, db, 5432, 1, 1)} })), "")
	r.run(10*time.Second, usual)
	r.want(r.run(5*time.Second, with(func(time.Time) []*correlate.Record { return []*correlate.Record{talk(pay, api, 8080, 1, 1)} })), "new_edge")
}

func TestLoadAndSave(t *testing.T) {
	cfg := DefaultConfig()
	cfg.State = filepath.Join(t.TempDir(), "weir", "anomaly.state")
	if d, err := Load(cfg, start); err != nil || d == nil {
		t.Fatal(err)
	}
	r := busyRig(t)
	for range 2 {
		if err := Save(cfg.State, r.d.AppendState(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if fs, _ := os.ReadDir(filepath.Dir(cfg.State)); len(fs) != 1 {
		t.Errorf("left over: %v", fs)
	}
	if i, err := os.Stat(cfg.State); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i.Mode(), err)
	}
	d, err := Load(cfg, r.now)
	if err != nil || d.Stats().Edges != r.d.Stats().Edges {
		t.Errorf("%v, %d edges", err, d.Stats().Edges)
	}
	b, _ := os.ReadFile(cfg.State)
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{b[:len(b)/2], "checksum"}, {nil, "no state"}, {[]byte("#!/bin/sh\necho anything at all\n"), "no state"},
		{append([]byte("weiranom\x09\x00"), b[10:]...), "version 9"},
	} {
		if err := os.WriteFile(cfg.State, c.b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Load(cfg, r.now)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), cfg.State) || d == nil || d.Stats().Edges != 0 {
			t.Errorf("want an error about %q, got %v", c.want, err)
		}
		if aside, err := os.ReadFile(cfg.State + ".corrupt"); err != nil || !bytes.Equal(aside, c.b) {
			t.Errorf("not set aside: %v", err)
		}
		if _, err := Load(cfg, r.now); err != nil {
			t.Errorf("the second time: %v", err)
		}
	}
}

// seal makes any body a file whose checksum is right.
func seal(body []byte) []byte {
	b := binary.LittleEndian.AppendUint16([]byte(stateMagic), stateVersion)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Whatever stands in a file, it is an error or a Detector that works.
func FuzzRestore(f *testing.F) {
	r := newRig(f, Config{})
	r.run(5*time.Minute, func(time.Time) []*correlate.Record { return []*correlate.Record{talk(web, mail, 587, 1, 1)} })
	b := r.d.AppendState(nil)
	f.Add(b[10 : len(b)-4])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := Restore(Config{}, seal(body), r.now)
		if err != nil {
			return
		}
		now := r.now
		for range 15 {
			for _, x := range usual(now) {
				d.Add(x)
			}
			now = now.Add(time.Minute)
			d.Tick(now)
		}
		if d.Stats().Edges == 0 {
			t.Error("it does not learn")
		}
	})
}

// A minute of edges that are known costs no allocation, however many they are.
func TestAllocations(t *testing.T) {
	r := newRig(t, Config{Learn: 2 * time.Hour})
	var rs []*correlate.Record
	for i := range 200 {
		c := inService(fmt.Sprintf("app%d/web", i), "web:1")
		rs = append(rs, talk(c, db, 5432, 1e6, 2e6), talk(c, elsewhere(fmt.Sprintf("api.place%d.example", i), fmt.Sprintf("198.18.%d.1", i)), 443, 100, 100))
		rs[len(rs)-1].Client.Cookie = uint64(i)
	}
	q := question("a.b.example.com")
	now := r.now
	interval := func() {
		for i, x := range rs {
			x.Start = now.UnixNano()
			r.d.Add(x)
			r.d.Query(uint64(i), q)
		}
		now = now.Add(10 * time.Second)
		if as := r.d.Tick(now); len(as) > 0 {
			t.Fatalf("%+v", as[0])
		}
	}
	for range 6 * 60 * 30 {
		interval()
	}
	if r.d.learning() || r.d.Stats().Profiles != 400 {
		t.Fatal("it still learns")
	}
	if n := testing.AllocsPerRun(6*60, interval); n >= 1 {
		t.Errorf("%.0f allocations per interval of %d edges", n, len(rs))
	}
}

func BenchmarkAdd(b *testing.B) {
	r := newRig(b, Config{Learn: 2 * time.Hour})
	var rs []*correlate.Record
	for i := range 4000 {
		rs = append(rs, talk(inService(fmt.Sprintf("app%d/web", i), "web:1"), db, 5432, 1e6, 2e6))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.d.Add(rs[i%len(rs)])
	}
}

func BenchmarkMinute(b *testing.B) {
	r := newRig(b, Config{Learn: 2 * time.Hour})
	var rs []*correlate.Record
	for i := range 4000 {
		rs = append(rs, talk(inService(fmt.Sprintf("app%d/web", i), "web:1"), db, 5432, 1e6, 2e6))
	}
	now := r.now
	b.ReportAllocs()
	for b.Loop() {
		for _, x := range rs {
			r.d.Add(x)
		}
		now = now.Add(time.Minute)
		r.d.Tick(now)
	}
	b.ReportMetric(float64(len(r.d.AppendState(nil)))/float64(len(rs)), "octets/edge")
}
