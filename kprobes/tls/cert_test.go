package tls

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// certificate writes one for 127.0.0.1 and its key into dir.
func certificate(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	c, k := machine.Certificate(t)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string][]byte{cert: c, key: k} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
