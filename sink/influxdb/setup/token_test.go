package setup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// TestAnInterruptedRunIsDoneAgain: on 1.x, where a password cannot be read back, a run
// that ended between keeping it and making the user leaves a file that the next one
// overwrites; what a server that was made anew does not know is made again, too.
func TestAnInterruptedRunIsDoneAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.StartWithUsers(t, influxd.V1))
	b.o.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(b.o.TokenFile, []byte("weir:of-the-run-before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.apply()
	kept := token(b.o.TokenFile)
	if kept == "weir:of-the-run-before" {
		t.Error("the password is the one that the server never had")
	}
	for _, bucket := range []string{"net", "net_log"} {
		if err := b.write(b.as(kept), bucket, "m v=1i"); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
	}
	if got := steps(b.plan()); got != nil || token(b.o.TokenFile) != kept {
		t.Errorf("another run changes %q", got)
	}
}
