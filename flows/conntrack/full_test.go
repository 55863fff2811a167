package conntrack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const statHead = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"

func statLine(drop string) string {
	return "00000018  00000000 00000000 00000000 00000012 00000000 00000000 00000000 00000000 00000000 " + drop + " 00000000 00000000  00000000 00000000 00000000 00000000\n"
}

func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nf_conntrack")
	f := NewFull(path)
	want := func(what string, n uint64) {
		t.Helper()
		if got := f.New(); got != n {
			t.Errorf("%s: %d, want %d", what, got, n)
		}
	}
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want("no conntrack", 0)
	write(statHead + statLine("0000000a") + statLine("00000001"))
	want("what was before", 0)
	write(statHead + statLine("0000000c") + statLine("00000011"))
	want("two CPUs", 2+16)
	want("nothing new", 0)
	for _, broken := range []string{"", "entries found\n", statHead + "00000001\n", statHead + statLine("xyz")} {
		write(broken)
		want("broken", 0)
	}
	write(statHead + statLine("00000001") + statLine("00000000"))
	want("the module was loaded again", 0)
	write(statHead + strings.Repeat(statLine("00000001"), 300))
	want("many CPUs", 299)
}

func FuzzSumDrops(f *testing.F) {
	f.Add([]byte(statHead + statLine("0000000a") + statLine("00000001")))
	f.Add([]byte("drop\nffffffffffffffff\n1\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		n, err := sumDrops(table)
		if err != nil && n > 0 && !strings.Contains(string(table), "drop") {
			t.Errorf("%d of a table without the column", n)
		}
	})
}

// What this machine's file says is understood, where there is one.
func TestFullOfThisHost(t *testing.T) {
	for _, path := range []string{"/proc/self/net/stat/nf_conntrack", "/proc/1/net/stat/nf_conntrack"} {
		if _, err := os.Stat(path); err != nil {
			t.Skip(err)
		}
		if f := NewFull(path); f.New() != 0 || !f.known {
			t.Errorf("%s: %+v", path, f)
		}
	}
}
