package kernels

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// layouts are the ways systemd lays out control groups, what the kernel is told
// for it, which cases run (IPVS has nothing to do with control groups, but is
// unlike where packets tell of translations, from 6.2 on), and what doctor must say.
var layouts = []struct {
	name, kernel, cgroups, cases string
	says, not                    []string
}{
	{"v2", "bookworm-security:6.1", "cgroup_no_v1=all", "Systemd$|TestCaseH8_ProbeIn|TestCaseH12", []string{"cgroup v2  "}, []string{"cgroup v1  "}},
	{"ipvs", "trixie-security:6.12", "cgroup_no_v1=all", "IPVS.*Systemd$", []string{"cgroup v2  "}, []string{"cgroup v1  "}},
	{"hybrid", "bookworm-security:6.1", "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0", "Systemd$ -test.skip IPVS",
		[]string{"cgroup v2  ", "cgroup v1  "}, nil},
	{"v1", "bookworm-security:6.1", "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1", "Systemd$ -test.skip IPVS",
		[]string{"cgroup v1  ", "mounted privately"}, []string{"cgroup v2  "}},
}

// TestSystemd boots guests with systemd as their first process, one per layout, and runs
// the cases there that want one: what test/cases skips elsewhere.
func TestSystemd(t *testing.T) {
	t.Parallel() // emulated, a guest hardly uses more than one processor
	if os.Getenv("WEIR_TEST_KERNELS") == "" {
		t.Skip("boots an emulated kernel: set WEIR_TEST_KERNELS=1 (make vm-test)")
	}
	for _, tool := range []string{"qemu-system-x86_64", "busybox", "cpio", "depmod", "debootstrap", "mke2fs"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, err.Error()+" (apt-get install qemu-system-x86 busybox-static cpio kmod debootstrap e2fsprogs)")
		}
	}
	root := repository(t)
	bin := t.TempDir()
	weir, cases := filepath.Join(bin, "weir"), filepath.Join(bin, "cases.test")
	build(t, root, "build", "-o", weir, "./cmd/weir")
	build(t, root, "test", "-c", "-o", cases, "./test/cases")

	rootfs := exec.CommandContext(t.Context(), filepath.Join(root, "test/kernels/rootfs.sh"))
	rootfs.Stderr = os.Stderr
	disk, err := rootfs.Output()
	if err != nil {
		missing(t, "no disk for the guest: "+err.Error())
	}
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			boot := bootSystemd(t, root, l.name, l.kernel, []string{"ROOTFS=" + strings.TrimSpace(string(disk)), "CGROUPS=" + l.cgroups},
				"weir="+weir+" version", "doctor="+weir+" doctor --docker /nonexistent --journal ''",
				"cases="+cases+" -test.run "+l.cases+" -test.v")
			job := boot.Jobs["cases"]
			if job == nil || !job.Ended {
				t.Fatalf("the cases did not run to their end; console:\n%s\n%+v", boot.Console, job)
			}
			judgeTests(t, "cases", guest{}, job)
			judgeDoctor(t, guest{doctorSays: l.says}, boot.Jobs["doctor"])
			for _, s := range l.not {
				if strings.Contains(boot.Jobs["doctor"].Output, s) {
					t.Errorf("doctor says %q:\n%s", s, boot.Jobs["doctor"].Output)
				}
			}
		})
	}
}

// bootSystemd runs jobs in a guest with a kernel, which is one of boot.sh's
// $KERNELS, and returns what it printed.
func bootSystemd(t *testing.T, root, name, kernel string, env []string, jobs ...string) *Boot {
	t.Helper()
	out := filepath.Join(root, "out", "systemd-"+name)
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "test/kernels/boot.sh"), jobs...)
	cmd.Env = append(append(os.Environ(), "OUT="+out, "KERNELS="+kernel, "MEMORY=2048", "JOB_TIMEOUT=600",
		"JOB_ENV=WEIR_TEST_BINARY=/run/weir/jobs.d/weir"), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("boot: %v\n%s", err, output)
	}
	_, label, _ := strings.Cut(kernel, ":")
	raw, err := os.ReadFile(filepath.Join(out, label+".log"))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := ParseLog(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !boot.Done || boot.Jobs["doctor"] == nil {
		t.Fatalf("the guest did not reach its end; console:\n%s", boot.Console)
	}
	return boot
}

// missing skips, or fails where the kernels are required.
func missing(t *testing.T, why string) {
	t.Helper()
	machine.Missing(t, "kernels", "needs kernels: "+why)
}
