package main

import (
	"strings"
	"testing"
)

const stream = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: %REASON%\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, stream, require string
		ok                    bool
		want                  string
	}{
		{"skip is allowed", strings.Replace(stream, "%REASON%", "needs root", 1), "", true, "1 passed, 0 failed, 1 skipped\n"},
		{"skip says why", strings.Replace(stream, "%REASON%", "needs root", 1), "", true, "1 × needs root"},
		{"required capability", strings.Replace(stream, "%REASON%", "needs root", 1), "root", false, "1 passed, 1 failed, 0 skipped\n"},
		{"another capability", strings.Replace(stream, "%REASON%", "needs root", 1), "docker", true, "1 passed, 0 failed, 1 skipped\n"},
		{"no rust", strings.Replace(stream, "%REASON%", "needs influxd 2.7.12 with Flux: cargo is missing", 1), "influxdb", true, "1 skipped\n"},
		{"unknown word", stream, "rooot", false, "unknown capability"},
		{"empty level", "", "", false, "l: ran nothing"},
		{"build failure", `{"Action":"build-output","ImportPath":"p","Output":"x.go:1: bad\n"}` + "\n" + `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"fail","Package":"p"}`, "", false, "l: p: failed outside a test"},
		{"died", `{"Action":"start","Package":"p"}`, "", false, "l: p: never ended"},
		{"fail", `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestX"}` + "\n" + `{"Action":"fail","Package":"p"}`, "", false, "0 passed, 1 failed, 0 skipped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := read("l", strings.NewReader(c.stream), nil)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			ok := report(&out, []*level{l}, strings.Fields(c.require))
			if ok != c.ok || !strings.Contains(out.String(), c.want) {
				t.Errorf("got %v, want %v and %q in:\n%s", ok, c.ok, c.want, out.String())
			}
		})
	}
}
