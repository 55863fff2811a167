package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/sink/decode"
)

// handshake is what a parser tells of one, and its row in flow_log.
type handshake struct {
	Version, ServerName, ALPN string
	Took                      float64 // seconds, 0 not told
	NotAfter                  int64
}

// handshakeKey is what the handshakes of a row of l7 have in common.
type handshakeKey struct{ Version, Status, ServerName, ALPN string }

// handshakeSum is what such a row adds up.
type handshakeSum struct {
	Count    int64
	Took     float64
	NotAfter int64
}

func (s handshakeSum) plus(h handshake) handshakeSum {
	if h.Took > 0 {
		s.Count++
		s.Took += h.Took
	}
	if h.NotAfter != 0 && (s.NotAfter == 0 || h.NotAfter < s.NotAfter) {
		s.NotAfter = h.NotAfter
	}
	return s
}

// goldenHandshakes reads what the parsers tell of a capture.
func goldenHandshakes(t *testing.T, path string) (each []handshake, sums map[handshakeKey]handshakeSum) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sums = map[handshakeKey]handshakeSum{}
	for line := range bytes.Lines(b) {
		var m struct {
			Protocol, Operation, Status, Host, ALPN string
			Failed                                  bool
			NotAfter                                int64 `json:"not_after"`
			RequestFirst                            int64 `json:"request_first"`
			ResponseLast                            int64 `json:"response_last"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		h := handshake{Version: m.Operation, ServerName: m.Host, ALPN: m.ALPN, NotAfter: m.NotAfter}
		if m.Protocol == "tls" && !m.Failed && m.ResponseLast != 0 {
			h.Took = float64(m.ResponseLast-m.RequestFirst) / 1e9
		}
		k := handshakeKey{m.Operation, m.Status, m.Host, m.ALPN}
		if k.ALPN != "" && k.ALPN != "http/1.1" {
			k.ALPN = "other" // foo, echo: nobody has registered them
		}
		each, sums[k] = append(each, h), sums[k].plus(h)
	}
	return each, sums
}

// float is a field, 0 where it is absent.
func float(r *decode.Row, name string) float64 { f, _ := r.Fields[name].(float64); return f }

// What captures of real handshakes show is in the rows of their replay: of each
// connection in flow_log, added up in l7.
func TestReplayTellsHandshakes(t *testing.T) {
	for _, capture := range []string{"tls/testdata/tls12", "tls/testdata/tls13", "tls/testdata/refused", "tls/testdata/retry", "tls/testdata/early", "quic/testdata/echo"} {
		t.Run(capture, func(t *testing.T) {
			want, wantSums := goldenHandshakes(t, "../../flows/l7/"+capture+".golden.jsonl")
			var got []handshake
			sums := map[handshakeKey]handshakeSum{}
			for _, r := range replayed(t, "../../flows/l7/"+capture+".pcap") {
				switch r.Measurement {
				case "flow_log":
					got = append(got, handshake{r.Text("tls_version"), r.Text("server_name"), r.Text("alpn"), float(&r, "handshake_seconds"), r.Int("certificate_not_after")})
				case "l7":
					k := handshakeKey{r.Tags["operation"], r.Tags["status"], r.Tags["server_name"], r.Tags["alpn"]}
					s := handshakeSum{r.Int("handshake_count"), float(&r, "handshake_sum_seconds"), r.Int("certificate_not_after")}
					before := sums[k] // of another interval
					sums[k] = handshakeSum{before.Count + s.Count, before.Took + s.Took, cmp.Or(before.NotAfter, s.NotAfter)}
					if left := float(&r, "certificate_left_seconds"); s.NotAfter != 0 && math.Abs(left-float64(s.NotAfter-r.Time)/1e9) > 1e-3 {
						t.Errorf("%v s are left at %d of %d", left, r.Time, s.NotAfter)
					}
				}
			}
			for _, l := range [][]handshake{want, got} {
				slices.SortFunc(l, func(a, b handshake) int {
					return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.ALPN, b.ALPN), cmp.Compare(a.Took, b.Took))
				})
			}
			near := gocmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
			if d := gocmp.Diff(want, got, near); d != "" {
				t.Errorf("flow_log: parser (-), rows (+):\n%s", d)
			}
			if d := gocmp.Diff(wantSums, sums, near); d != "" {
				t.Errorf("l7: parser (-), rows (+):\n%s", d)
			}
		})
	}
}
