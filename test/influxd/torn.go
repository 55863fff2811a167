package influxd

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Tear leaves the beginning of an entry at the end of a stopped server's write-ahead logs,
// as a kill in the middle of a write does.
func (s *Server) Tear(t testing.TB) {
	t.Helper()
	torn := 0
	err := filepath.WalkDir(s.logs(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".wal" {
			return err
		}
		torn++
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write([]byte{1, 0, 0, 1, 0, 'm'}) // a write of 256 octets (tsdb/engine/tsm1/wal.go), of which one came
		return err
	})
	if err != nil || torn == 0 {
		t.Fatalf("%d files torn: %v", torn, err)
	}
}

// Torn is how many times the server found its log torn. From the second time on rows may
// be gone that it has acknowledged: it goes on writing behind the place at which it then
// cuts the file, and at the next start cuts it there again (WAL.Open and CacheLoader.Load
// of tsdb/engine/tsm1, 1.8.10 and 2.7.12).
func (s *Server) Torn(t testing.TB) int {
	t.Helper()
	if s.logFile == "" { // somebody's own
		return 0
	}
	log, err := os.ReadFile(s.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(log, []byte("File corrupt"))
}
