// Package machine says what tests find on the machine they run on: programs that the
// build scripts in test/ made, addresses to listen at, and what must not be missing.
package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Cache is the folder of what is built or fetched once: $WEIR_CACHE, else ~/.cache/weir.
func Cache() string {
	if dir := os.Getenv("WEIR_CACHE"); dir != "" {
		return dir
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".cache", "weir")
}

// Find is the path of a program in the cache, else of the first of the names that is in
// PATH; empty: there is none.
func Find(name string, others ...string) string {
	if path := Cached(name); path != "" {
		return path
	}
	for _, n := range append([]string{name}, others...) {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	return ""
}

// Cached is Find in the cache alone.
func Cached(name string) string {
	path := filepath.Join(Cache(), name)
	if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
		return path
	}
	return ""
}

// Missing skips t for want of a capability, or fails it where WEIR_REQUIRE asks for that.
func Missing(t testing.TB, capability, why string) {
	t.Helper()
	if slices.Contains(strings.Fields(os.Getenv("WEIR_REQUIRE")), capability) {
		t.Fatalf("WEIR_REQUIRE asks for %s: %s", capability, why)
	}
	t.Skip(why)
}

// Root is Missing where t does not run as root; purpose is what t does as root: "makes
// network namespaces". Packages whose tests call it are of the level root (test/run.sh).
func Root(t testing.TB, purpose string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root", "needs root: "+purpose)
	}
}
