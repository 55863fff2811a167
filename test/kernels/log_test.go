package kernels

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const console = `[    0.1] something of the kernel
GUEST uname 6.1.0-50-cloud-amd64
==> JOB probes
=== RUN   TestKernelA
    a_test.go:3: attached
--- PASS: TestKernelA (0.10s)
=== RUN   TestKernelB
=== RUN   TestKernelB/sub
--- SKIP: TestKernelB (0.00s)
    --- PASS: TestKernelB/sub (0.00s)
PASS

<== JOB probes 0
==> JOB doctor
kernel 6.1
`

func TestParseLog(t *testing.T) {
	b, err := ParseLog(strings.NewReader(console))
	if err != nil {
		t.Fatal(err)
	}
	if b.Release != "6.1.0-50-cloud-amd64" || b.Done || b.Console != "[    0.1] something of the kernel\n" {
		t.Errorf("got %+v", b)
	}
	got := map[string]string{}
	for _, r := range b.Jobs["probes"].Tests {
		got[r.Name] = r.Result + strings.Repeat("+", r.Depth)
	}
	want := map[string]string{"TestKernelA": "PASS", "TestKernelB": "SKIP", "TestKernelB/sub": "PASS+"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !strings.Contains(b.Jobs["probes"].Tests[0].Output, "attached") {
		t.Errorf("output of TestKernelA: %q", b.Jobs["probes"].Tests[0].Output)
	}
	if d := b.Jobs["doctor"]; d.Ended || d.Output != "kernel 6.1\n" {
		t.Errorf("a job without an end marker must not count as ended: %+v", d)
	}
}
