package capture

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows"
)

type conversationTotals struct {
	streams                               map[string]bool
	packets, octets, payload, retransmits uint64
	zeroWindows                           uint64
}

// TestTotalsAgreeWithTshark compares what the golden captures hold of TCP with
// Wireshark's conversations, which share no code with ours.
func TestTotalsAgreeWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	for _, file := range captures(t) {
		name := filepath.Base(file)
		// The captures that show packets twice count them once here; tshark does not
		// sort.
		if strings.Contains(name, "twice") || strings.Contains(name, "out_of_order") || strings.Contains(name, "multi_interface") || strings.Contains(name, "not_flows") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want := tsharkTCP(t, file)
			records, _, err := replay(t, file)
			must(t, err)
			got := conversationTotals{streams: map[string]bool{}}
			for _, r := range records {
				if r.Key.Proto != flows.TCP {
					continue
				}
				got.streams[r.Key.String()+strconv.FormatInt(r.Start, 10)] = true
				for _, c := range r.Dir {
					got.packets += c.Packets
					got.octets += c.Octets
					got.payload += c.Payload
					got.retransmits += c.Retransmits
					got.zeroWindows += c.ZeroWindows
				}
			}
			if len(got.streams) != len(want.streams) || got.packets != want.packets || got.payload != want.payload || got.retransmits != want.retransmits {
				t.Errorf("%d flows, %d packets, %d payload, %d retransmits; tshark says %d, %d, %d, %d",
					len(got.streams), got.packets, got.payload, got.retransmits, len(want.streams), want.packets, want.payload, want.retransmits)
			}
			if got.zeroWindows != want.zeroWindows {
				t.Errorf("%d zero windows, tshark says %d", got.zeroWindows, want.zeroWindows)
			}
			// Cooked captures have a pseudo header that we do not count.
			if !strings.Contains(name, "cooked") && !strings.Contains(name, "any") && got.octets != want.octets {
				t.Errorf("%d octets, tshark says %d", got.octets, want.octets)
			}
		})
	}
}

func tsharkTCP(t *testing.T, file string) conversationTotals {
	t.Helper()
	out, err := exec.Command("tshark", "-n", "-r", file, "-Y", "tcp", "-T", "fields",
		"-e", "tcp.stream", "-e", "frame.len", "-e", "tcp.len",
		"-e", "tcp.analysis.retransmission", "-e", "tcp.analysis.out_of_order",
		"-e", "tcp.window_size_value", "-e", "tcp.flags").Output()
	must(t, err)
	totals := conversationTotals{streams: map[string]bool{}}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		totals.streams[f[0]] = true
		totals.packets++
		totals.octets += number(t, f[1])
		totals.payload += number(t, f[2])
		// Our captures have no reordering: what tshark takes for it, because it came
		// within its 3 ms, was sent again after a loss behind the capture.
		if f[3] != "" || f[4] != "" {
			totals.retransmits++
		}
		flags, err := strconv.ParseUint(f[6], 0, 16)
		must(t, err)
		if f[5] == "0" && flags&uint64(flows.SYN|flows.RST) == 0 {
			totals.zeroWindows++
		}
	}
	return totals
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	must(t, err)
	return n
}
