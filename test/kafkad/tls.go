package kafkad

import (
	"os"
	"slices"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// certify writes a key with its certificate, as Kafka reads it, and the certificate alone
// for clients.
func (s *Server) certify(t testing.TB) {
	t.Helper()
	cert, key := machine.Certificate(t)
	for path, b := range map[string][]byte{s.CAFile: cert, s.keyFile(): slices.Concat(key, cert)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
