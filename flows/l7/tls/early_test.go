package tls

import (
	"encoding/binary"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

// withEarlyData adds the extension early_data to a record with a ClientHello.
func withEarlyData(record []byte) []byte {
	b := append([]byte(nil), record...)
	at := 5 + 4 + 2 + 32
	at += 1 + int(b[at])                           // session
	at += 2 + int(binary.BigEndian.Uint16(b[at:])) // cipher suites
	at += 1 + int(b[at])                           // compression
	for _, size := range [...]int{3, 5 + 2, at} {  // of the record, of the message (its lower octets), of the extensions
		binary.BigEndian.PutUint16(b[size:], binary.BigEndian.Uint16(b[size:])+4)
	}
	return append(b, 0, extEarlyData, 0, 0)
}

// A client that sends data before the handshake is over: where that ends cannot be
// seen among its records, and a short one is no alert.
func TestEarlyDataHasNoEnd(t *testing.T) {
	whole := l7test.Captures(t)["testdata/tls13.pcap"][0]
	for name, size := range map[string]int{"data": 40, "of the size of an alert": sealedAlert} {
		t.Run(name, func(t *testing.T) {
			var talk []l7test.Chunk
			for i, p := range whole {
				if i == 0 {
					p.Data = withEarlyData(p.Data)
				}
				if i > 0 && p.Dir == l7.ToServer {
					p.Data = []byte(record(recordData, make([]byte, size)...))
				}
				talk = append(talk, p)
			}
			got := l7test.Run(Spec, talk)
			if len(got) != 1 || got[0].Status != ok || got[0].Failed || got[0].Operation != "TLS 1.3" || got[0].ResponseLast != 0 || got[0].ResponseFirst == 0 {
				t.Errorf("told %+v", got)
			}
		})
	}
}
