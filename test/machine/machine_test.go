package machine_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// told is what a test was told: nothing, to skip or to fail, and why.
type told struct {
	testing.TB
	how, why string
}

func (t *told) Helper() {}

func (t *told) Skip(args ...any) {
	t.how, t.why = "skip", args[0].(string)
	runtime.Goexit()
}

func (t *told) Fatalf(string, ...any) {
	t.how = "fail"
	runtime.Goexit()
}

// asked runs f as a test of a user.
func asked(uid int, f func(testing.TB)) *told {
	t := &told{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread, whose user alone it changes, dies with the goroutine.
		runtime.LockOSThread()
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			t.how = e.Error()
			return
		}
		f(t)
	}()
	<-done
	return t
}

func TestMissing(t *testing.T) {
	for _, c := range []struct{ require, capability, how string }{
		{"", "podman", "skip"},
		{"root podman bpf", "podman", "fail"},
		{"root docker-compose", "docker", "skip"}, // a word, not a part of one
	} {
		t.Setenv("WEIR_REQUIRE", c.require)
		if got := asked(os.Geteuid(), func(t testing.TB) { machine.Missing(t, c.capability, "why") }); got.how != c.how {
			t.Errorf("%s is missing where %q is required: %+v", c.capability, c.require, got)
		}
	}
}

func TestRoot(t *testing.T) {
	nobody := 65534
	if uid := os.Geteuid(); uid != 0 {
		nobody = uid
	} else if got := asked(0, func(t testing.TB) { machine.Root(t, "mounts things") }); got.how != "" {
		t.Errorf("root is told to %s", got.how)
	}
	for require, how := range map[string]string{"": "skip", "bpf root": "fail"} {
		t.Setenv("WEIR_REQUIRE", require)
		got := asked(nobody, func(t testing.TB) { machine.Root(t, "mounts things") })
		if got.how != how || how == "skip" && got.why != "needs root: mounts things" {
			t.Errorf("where %q is required: %+v", require, got)
		}
	}
}
