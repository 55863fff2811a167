package kprobes

import (
	"bytes"
	"io"
	"testing"
)

// TestKernelPayloadEnds: when a connection ends, how long its last turn was is told if
// not all of it was copied, once at each end, and else nothing.
func TestKernelPayloadEnds(t *testing.T) {
	f := start(t, Config{Payload: true})
	f.need(payloadHooks...)
	for _, answer := range []int{100, maxPayloadOctets, maxPayloadOctets + 1, 1 << 20} {
		client, server := pipe(t, "tcp4", "127.0.0.1:0")
		cp, sp := ports(client)
		pass(t, client, server, []byte("question"))
		pass(t, server, client, bytes.Repeat([]byte{'x'}, answer))
		server.Close()
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		client.Close()
		for _, local := range []uint16{sp, cp} {
			var ends []PayloadEvent
			var turns int
			want := 0
			if answer > maxPayloadOctets {
				want = 1
			}
			f.until("the turns and the end", f.drain, func() bool {
				ends, turns = nil, 0
				for _, e := range f.payload(local, cp+sp-local) {
					switch {
					case e.Ends:
						ends = append(ends, e)
					case e.Turn:
						turns++
					}
				}
				return turns == 2 && len(ends) >= want
			})
			if len(ends) != want {
				t.Errorf("%d octets, port %d: told of %d ends, want %d", answer, local, len(ends), want)
			}
			for _, e := range ends {
				if !e.Turn || e.Len != 0 || len(e.Data) != 0 || e.Out != (local == cp) || e.PrevOctets != uint64(answer) || e.PrevFirst == 0 ||
					e.PrevLast < e.PrevFirst || e.Time < e.PrevLast {
					t.Errorf("%d octets, port %d: the end is told as %+v", answer, local, e)
				}
			}
		}
	}
}
