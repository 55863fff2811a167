package http2

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7/l7test"
)

var update = flag.Bool("update", false, "write the golden files anew")

func captures(t testing.TB) map[string][][]l7test.Piece {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.pcap")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	all := make(map[string][][]l7test.Piece)
	for _, p := range paths {
		all[p] = l7test.Pcap(t, p)
	}
	return all
}

func TestGolden(t *testing.T) {
	for path, streams := range captures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			l7test.Golden(t, strings.TrimSuffix(path, ".pcap")+".golden.jsonl", l7test.All(Spec, streams), update)
			for _, s := range streams {
				l7test.Properties(t, Spec, s)
			}
		})
	}
}
