package flows

import "testing"

// Of all combinations of flags only SYN is an opening, and only SYN with ACK the
// answer to one; nothing else says who opened the connection.
func TestCaseG3_EveryCombinationOfFlags(t *testing.T) {
	for f := range TCPFlags(256) {
		m := NewMeter(MeterConfig{})
		observe(m, tcp(0, Reverse, f, 1, 1, 0)) // from port 80
		r := flush(m)
		if len(r) != 1 {
			t.Fatalf("flags %#x: %d records", f, len(r))
		}
		var want TCPFlags
		who, guessed := InitiatorSrc, true // port 80 looks like a server's
		switch f & (SYN | ACK | RST | FIN) {
		case SYN:
			want, who, guessed = SYNOnly, InitiatorDst, false
		case SYN | ACK:
			want, guessed = SYNACK, false
		}
		if got := r[0].Dir[Reverse].Flags; got != f|want || r[0].Initiator != who || r[0].Guessed != guessed {
			t.Errorf("flags %#x: told as %#x, initiator %d, guessed %v", f, got, r[0].Initiator, r[0].Guessed)
		}
	}
}
