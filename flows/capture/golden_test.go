package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows"
)

var update = flag.Bool("update", false, "write the crafted captures and the golden files of testdata")

// goldenRecord is a flows.Record as the golden files spell it.
type goldenRecord struct {
	Flow      string `json:"flow"` // initiator → responder, src → dst when unknown
	Initiator string `json:"initiator"`
	Start     string `json:"start"`
	End       string `json:"end"`
	Reason    string `json:"reason"`
	Connect   string `json:"connect,omitempty"`
	There     golden `json:"there"`
	Back      golden `json:"back"`
}

type golden struct {
	Packets     uint64 `json:"packets"`
	Octets      uint64 `json:"octets"`
	Payload     uint64 `json:"payload"`
	Retransmits uint64 `json:"retransmits,omitempty"`
	ZeroWindows uint64 `json:"zero_windows,omitempty"`
	Flags       string `json:"flags,omitempty"`
}

func spell(r *flows.Record) goldenRecord {
	key, there, back := r.Key, r.Dir[flows.Forward], r.Dir[flows.Reverse]
	who := "unknown"
	switch r.Initiator {
	case flows.InitiatorSrc:
		who = "known"
	case flows.InitiatorDst:
		who = "known"
		key, there, back = key.Reverse(), back, there
	}
	if r.Guessed {
		who = "guessed"
	}
	g := goldenRecord{
		Flow: key.String(), Initiator: who, Reason: r.EndReason.String(),
		Start: clock(r.Start), End: clock(r.End),
		There: spellCounters(there), Back: spellCounters(back),
	}
	if r.SynAck != 0 {
		g.Connect = time.Duration(r.SynAck).String()
	}
	return g
}

func clock(ns int64) string { return time.Unix(0, ns).UTC().Format("15:04:05.000000000") }

func spellCounters(c flows.Counters) golden {
	var flags []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "SYN only", "SYN-ACK"} {
		if c.Flags&(1<<i) != 0 {
			flags = append(flags, name)
		}
	}
	return golden{c.Packets, c.Octets, c.Payload, c.Retransmits, c.ZeroWindows, strings.Join(flags, " ")}
}

// recorder is a Handler that keeps copies.
type recorder struct{ records []flows.Record }

func (r *recorder) Flow(f *flows.Record) { r.records = append(r.records, *f) }
func (r *recorder) NAT(*flows.NAT)       {}

// replay runs a capture through decoder and meter at 10 s intervals.
func replay(t testing.TB, path string) ([]flows.Record, MeteredStats, error) {
	t.Helper()
	source, err := OpenFile(path, FileConfig{})
	must(t, err)
	defer source.Close()
	m := NewMetered(source, MeteredConfig{})
	var r recorder
	err = m.Replay(context.Background(), 10*time.Second, &r, func(int64) error { return nil })
	return r.records, m.Stats(), err
}

func captures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.pcap*")
	must(t, err)
	return files
}

func TestGolden(t *testing.T) {
	if *update {
		for name, craft := range crafted {
			must(t, os.WriteFile(filepath.Join("testdata", name), craft(t), 0o644))
		}
	}
	files := captures(t)
	if len(files) < len(crafted)+10 {
		t.Fatalf("testdata holds %d captures, want more than %d", len(files), len(crafted)+10)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			records, stats, err := replay(t, file)
			if err != nil {
				t.Fatal(err)
			}
			checkConservation(t, records, stats)
			checkEveryFrame(t, stats)
			var got bytes.Buffer
			e := json.NewEncoder(&got)
			e.SetEscapeHTML(false)
			for i := range records {
				must(t, e.Encode(spell(&records[i])))
			}
			must(t, e.Encode(stats))

			path := strings.TrimSuffix(file, filepath.Ext(file)) + ".golden.jsonl"
			if *update {
				must(t, os.WriteFile(path, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
				t.Errorf("records differ from %s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// checkConservation: every packet read is in a record or in a counter.
func checkConservation(t *testing.T, records []flows.Record, s MeteredStats) {
	t.Helper()
	var inRecords, octets uint64
	for i := range records {
		for _, c := range records[i].Dir {
			inRecords += c.Packets
			octets += c.Octets
		}
	}
	m := s.Meter
	if got, want := inRecords+m.DuplicatePackets+m.UnknownFragmentPackets+m.LostPackets, m.Packets; got != want {
		t.Errorf("packets in records and counters of the meter = %d, want %d", got, want)
	}
	if got, want := octets+m.DuplicateOctets+m.UnknownFragmentOctets+m.LostOctets, m.Octets; got != want {
		t.Errorf("octets in records and counters of the meter = %d, want %d", got, want)
	}
}

// checkEveryFrame holds where a frame is a packet: in files.
func checkEveryFrame(t *testing.T, s MeteredStats) {
	t.Helper()
	other := s.NonIPPackets + s.TruncatedPackets + s.MalformedPackets + s.UnsupportedPackets + s.LoopbackPackets
	if got, want := s.Meter.Packets+other, s.Packets; got != want {
		t.Errorf("packets metered and refused = %d, want %d read", got, want)
	}
}
