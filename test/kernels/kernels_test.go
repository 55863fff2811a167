package kernels

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guest says what is expected under one kernel of $KERNELS: every TestKernel…
// passes and none is skipped, but for what is listed.
type guest struct {
	release string // uname -r begins with it
	// partial are the jobs whose tests must only come to an end here, and why:
	// what is missing must then be said by doctor.
	partial map[string]string
	// skips are the tests that may be skipped here, and why.
	skips map[string]string
	// doctorStatus is weir doctor's exit status, and doctorSays what it prints.
	doctorStatus int
	doctorSays   []string
}

var guests = map[string]guest{
	"5.10": {
		release: "5.10.",
		partial: map[string]string{
			"kprobes":  "tracing programs have neither socket cookies nor socket storage before 5.12",
			"cmd-weir": "so weir run sees packets only there, without owners, and says so",
		},
		doctorStatus: 1,
		doctorSays:   []string{"5.10.", "tp_btf/inet_sock_set_state", "needs Linux ≥ 5.12", "without it:"},
	},
	"6.1": {
		release: "6.1.",
		skips: map[string]string{
			"TestKernelUDPHandover":   "no sock_send_length before 6.3, and its stand-in sees the first sender only",
			"TestKernelSockmap":       "no sock_send_length before 6.3",
			"TestKernelSockmapPeek":   "no sock_recv_length before 6.3",
			"TestKernelSockmapSplice": "no sock_send_length before 6.3",
			"TestKernelTLSReader":     "no sock_recv_length before 6.3",
			"TestKernelNoRoom":        "no receiver in kfree_skb before 6.11",
		},
		doctorSays: []string{"6.1.", "sock_send_length", "from conntrack's events", "containers' own: from conntrack's events"},
	},
	"6.12": {release: "6.12.", doctorSays: []string{"6.12.", "tcx", "the host's: from packets", "containers' own: from their sockets' packets"}},
}

func TestKernels(t *testing.T) {
	t.Parallel() // emulated, a guest hardly uses more than one processor
	if os.Getenv("WEIR_TEST_KERNELS") == "" {
		t.Skip("boots emulated kernels: set WEIR_TEST_KERNELS=1 (make vm-test)")
	}
	for _, tool := range []string{"qemu-system-x86_64", "busybox", "cpio", "depmod"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, err.Error()+" (apt-get install qemu-system-x86 busybox-static cpio kmod)")
		}
	}
	root := repository(t)
	bin := t.TempDir()
	out := filepath.Join(root, "out", "kernels")
	jobs := buildJobs(t, root, bin)
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "test/kernels/boot.sh"), jobs...)
	cmd.Env = append(os.Environ(), "OUT="+out)
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Fatalf("boot kernels: %v", err)
	}
	labels := regexp.MustCompile(`(?m)^(\S+): \S+, prepared in`).FindAllSubmatch(output, -1)
	if len(labels) == 0 {
		t.Fatal("no kernel was booted")
	}
	for _, m := range labels {
		label := string(m[1])
		t.Run(label, func(t *testing.T) { judge(t, label, filepath.Join(out, label+".log")) })
	}
}

func repository(t *testing.T) string {
	t.Helper()
	gomod, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(gomod)))
}

// buildJobs builds weir and one static test binary per package with a
// TestKernel… function.
func buildJobs(t *testing.T, root, bin string) []string {
	t.Helper()
	weir := filepath.Join(bin, "weir")
	build(t, root, "build", "-o", weir, "./cmd/weir")
	jobs := []string{"version=" + weir + " version", "doctor=" + weir + " doctor"}

	grep := exec.CommandContext(t.Context(), "grep", "-rlE", "--include=*_test.go", `^func TestKernel[A-Z_]`, "--exclude-dir=kernels", ".")
	grep.Dir = root
	files, _ := grep.Output() // status 1: none found, judged below
	var dirs []string
	for f := range strings.Lines(string(files)) {
		dirs = append(dirs, filepath.Dir(strings.TrimSpace(f)))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		name := strings.ReplaceAll(dir, "/", "-")
		path := filepath.Join(bin, name+".test")
		build(t, root, "test", "-c", "-o", path, "./"+dir)
		jobs = append(jobs, name+"="+path+" -test.run ^TestKernel -test.v")
	}
	if len(jobs) == 2 {
		t.Fatal("no package has a TestKernel function: the harness finds nothing to run")
	}
	return jobs
}

// build runs go with arguments that make a static linux/amd64 binary.
func build(t *testing.T, root string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func judge(t *testing.T, label, path string) {
	want, ok := guests[label]
	if !ok {
		t.Fatalf("no expectations for kernel %s: add it to the table in kernels_test.go", label)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := ParseLog(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(boot.Release, want.release) {
		t.Fatalf("uname -r is %q, want %s…; console:\n%s", boot.Release, want.release, boot.Console)
	}
	if !boot.Done {
		t.Errorf("the guest did not reach its end (see %s); console:\n%s", path, boot.Console)
	}
	for name, job := range boot.Jobs {
		t.Run(name, func(t *testing.T) {
			if !job.Ended {
				t.Fatalf("no end marker: the kernel died or the boot timed out; output:\n%s", job.Output)
			}
			switch name {
			case "version":
				if job.Status != 0 {
					t.Errorf("exit status %d:\n%s", job.Status, job.Output)
				}
			case "doctor":
				judgeDoctor(t, want, job)
			default:
				judgeTests(t, name, want, job)
			}
		})
	}
}

func judgeDoctor(t *testing.T, want guest, job *Job) {
	if job.Status != want.doctorStatus {
		t.Errorf("exit status %d, want %d; output:\n%s", job.Status, want.doctorStatus, job.Output)
	}
	for _, s := range want.doctorSays {
		if !strings.Contains(job.Output, s) {
			t.Errorf("does not say %q; output:\n%s", s, job.Output)
		}
	}
}

func judgeTests(t *testing.T, name string, want guest, job *Job) {
	if len(job.Tests) == 0 {
		t.Fatalf("no test ran; output:\n%s", job.Output)
	}
	partial := want.partial[name]
	if partial == "" && job.Status != 0 {
		t.Errorf("exit status %d; end of the output:\n%s", job.Status, job.Output[max(0, len(job.Output)-2000):])
	}
	for _, r := range job.Tests {
		t.Run(r.Name, func(t *testing.T) {
			switch {
			case r.Result == "PASS":
			case partial != "":
				t.Skipf("%s on this kernel: %s", r.Result, partial)
			case r.Result == "SKIP" && want.skips[r.Name] != "":
				t.Skip(want.skips[r.Name])
			default:
				// what a subtest logs stands before its parent's result line
				t.Errorf("%s:\n%s", r.Result, r.Output)
			}
		})
	}
}
