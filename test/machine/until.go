package machine

import (
	"testing"
	"time"
)

// patience is how long anything that must happen may take on a busy machine.
const patience = time.Minute

// Until polls for what nothing announces and fails t when it does not come about.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}
