// Package probe builds and runs the real weir for tests: what a test sees is
// what a user would.
package probe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Build compiles a static command of this module into a directory of the test
// and returns its path. pkg is like "./cmd/weir".
func Build(t testing.TB, pkg string) string {
	t.Helper()
	bin, err := BuildIn(t.TempDir(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// BuildIn is Build into a given directory, for a TestMain.
func BuildIn(dir, pkg string) (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	out := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, b)
	}
	return out, nil
}

// Environment is this process's without what configures weir: the host's own
// configuration must not decide a test.
func Environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEIR_") && !strings.HasPrefix(kv, "INFLUX_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET") {
			env = append(env, kv)
		}
	}
	return append(env, "WEIR_CONFIG=/dev/null")
}

// Start runs weir with the arguments; environment entries like INFLUX_TOKEN=x
// come first, up to the first argument without '='. It does not wait for ready.
func Start(t testing.TB, bin string, args ...string) *Process {
	t.Helper()
	env := Environment()
	for len(args) > 0 && strings.Contains(args[0], "=") && !strings.HasPrefix(args[0], "-") {
		env, args = append(env, args[0]), args[1:]
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = env
	return Spawn(t, cmd)
}

// Until polls check, which nothing announces, until it returns nil.
func Until(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// LogValue returns the value of a key in the last line of a text log that has it.
func LogValue(log, key string) string {
	at := strings.LastIndex(log, " "+key+"=")
	if at < 0 {
		return ""
	}
	rest := log[at+len(key)+2:]
	if q, ok := strings.CutPrefix(rest, `"`); ok {
		value, _, _ := strings.Cut(q, `"`)
		return value
	}
	return strings.Fields(rest)[0]
}
