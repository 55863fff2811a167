package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// TestReadToken: it reads all four places in InfluxQL, as Grafana does with it, and
// does nothing else.
func TestReadToken(t *testing.T) {
	test := func(t *testing.T, b *bed) {
		dir := t.TempDir()
		b.o.TokenFile, b.o.ReadTokenFile = filepath.Join(dir, "write"), filepath.Join(dir, "read")
		b.apply()
		st, err := os.Stat(b.o.ReadTokenFile)
		if err != nil || st.Mode() != 0o600 {
			t.Fatalf("%v, %v", st, err)
		}
		if token(b.o.ReadTokenFile) == token(b.o.TokenFile) {
			t.Fatal("who reads has the token of who writes")
		}
		for _, place := range []string{"net", "net_log", "net_1m", "net_1h"} {
			if err := b.write(b.admin(), place, "flow,host=a opened=1i"); err != nil {
				t.Fatal(err)
			}
			mine := &planner1{server: *b.as(token(b.o.ReadTokenFile))}
			if rows, err := mine.query(t.Context(), fmt.Sprintf(`SELECT "opened" FROM %q.."flow"`, place)); err != nil || len(rows) != 1 {
				t.Errorf("read %s: %v, %v", place, rows, err)
			}
		}
		b.readsOnly(b.as(token(b.o.ReadTokenFile)))
		if got := steps(b.plan()); got != nil {
			t.Errorf("a second run changes %q", got)
		}
		if err := os.WriteFile(b.o.ReadTokenFile, []byte("somebody's\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), b.o); err == nil || !strings.Contains(err.Error(), "--read-token-file") {
			t.Errorf("a file with something else: %v", err)
		}
	}
	t.Run(influxd.V1, func(t *testing.T) { test(t, newBed(t, influxd.StartWithUsers(t, influxd.V1))) })
	t.Run(influxd.V2, func(t *testing.T) { test(t, newBed(t, influxd.Start(t, influxd.V2))) })
}

func (b *bed) readsOnly(mine *server) {
	b.t.Helper()
	ctx := b.t.Context()
	for _, place := range []string{"net", "net_log", "net_1m", "net_1h", "other"} {
		if b.write(mine, place, "flow,host=a opened=2i") == nil {
			b.t.Errorf("may write to %s", place)
		}
	}
	for _, q := range []string{`DROP DATABASE "net"`, `CREATE DATABASE "x"`, `DROP SERIES FROM "net"."autogen"."flow"`} {
		if rows, err := (&planner1{server: *mine}).query(ctx, q); err == nil {
			b.t.Errorf("%s is allowed: %v", q, rows)
		}
	}
	if b.V1() {
		return
	}
	for path, in := range map[string]body{
		"buckets":        {"name": "x", "orgID": b.orgID()},
		"authorizations": {"orgID": b.orgID(), "permissions": []body{{"action": "read", "resource": body{"type": "buckets", "orgID": b.orgID()}}}},
	} {
		if err := mine.call(ctx, "POST", "api/v2/"+path, in, nil); err == nil {
			b.t.Errorf("POST %s is allowed", path)
		}
	}
	for _, name := range []string{"net", "net_1m"} {
		if got := b.has("buckets?name="+name, "buckets", "id"); mine.call(ctx, "DELETE", "api/v2/buckets/"+got[0], nil, nil) == nil {
			b.t.Errorf("may delete bucket %s", name)
		}
	}
	flux := body{"query": `from(bucket: "` + influxd.Bucket + `") |> range(start: -1h)`, "dialect": body{}}
	if err := mine.call(ctx, "POST", "api/v2/query?org="+b.Org, flux, nil); err == nil {
		b.t.Error("may read another bucket")
	}
}

// TestReadTokenWithoutDownsampling: it reads what there is, and when there is more, so
// does the next one.
func TestReadTokenWithoutDownsampling(t *testing.T) {
	b := newBed(t, influxd.Start(t, influxd.V2))
	b.o.ReadTokenFile, b.o.NoDownsampling = filepath.Join(t.TempDir(), "read"), true
	b.apply()
	first := token(b.o.ReadTokenFile)
	if got := steps(b.plan()); first == "" || got != nil {
		t.Errorf("a second run changes %q", got)
	}
	b.o.NoDownsampling = false
	if err := os.Remove(b.o.ReadTokenFile); err != nil {
		t.Fatal(err)
	}
	b.apply()
	if second := token(b.o.ReadTokenFile); second == "" || second == first {
		t.Error("the token that lacks the downsampled buckets is given again")
	}
}
