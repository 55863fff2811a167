package kafka

import (
	"bytes"
	"testing"
)

func TestKey(t *testing.T) {
	for line, want := range map[string]string{
		`flow,a=b,c=d e=1i 5`:             `a=b,c=d`,
		`flow,a=b\ c\,d,e=f\=g h="x y" 5`: `a=b\ c\,d,e=f\=g`,
		`m\,x,a=b v=1 5`:                  `a=b`,
		`m v=1,w=2 5`:                     `m`,
		`m`:                               `m`,
		`m,a=b\`:                          `m,a=b\`,
	} {
		if got := string(key([]byte(line))); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// FuzzMessages: whatever the octets are, messages are a partition of them.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("flow,a=b c=1i 5\nflow_latency,a=b c=1i 5\nflow,a=c c=1i 5\n"))
	f.Add([]byte("\n\n,\\\n x"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		var all []byte
		for _, r := range messages("t", lines) {
			if len(r.Value) == 0 {
				t.Error("an empty message")
			}
			all = append(all, r.Value...)
		}
		if !bytes.Equal(all, lines) {
			t.Errorf("got %q of %q", all, lines)
		}
	})
}
