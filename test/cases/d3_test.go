package cases

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childNoNetfilter becomes the program args, to which the kernel looks as if it
// had no nfnetlink: its sockets are refused like where the module is missing.
func childNoNetfilter(args []string) error {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: skip}
	}
	const load, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{ // struct seccomp_data: nr at 0, arguments of 8 octets from 16 on
		stmt(load, 0), unless(unix.SYS_SOCKET, 5),
		stmt(load, 16), unless(unix.AF_NETLINK, 3),
		stmt(load, 32), unless(unix.NETLINK_NETFILTER, 1),
		stmt(ret, unix.SECCOMP_RET_ERRNO|uint32(unix.EPROTONOSUPPORT)),
		stmt(ret, unix.SECCOMP_RET_ALLOW),
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	environ := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, childRole+"=") })
	return syscall.Exec(args[0], args, environ)
}

// withoutNetfilter makes cmd run under childNoNetfilter.
func withoutNetfilter(cmd *exec.Cmd) {
	cmd.Args = append([]string{cmd.Args[0], cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, childRole+"=nonetfilter")
}

// No conntrack by netlink, and no packets that would show it: rows are right but
// for the address behind the translation, and the probe says so everywhere.
func TestCaseD10_NoConntrack(t *testing.T) {
	l := newNATLab(t)
	l.masquerade(t)
	l.remote(t, 700)
	p, rows := ownBy(t, func(c *exec.Cmd) error { withoutNetfilter(c); l.host.StartCommand(t, c); return nil }, "--packets", "off")
	c := spawn(t, l.a, "call", endpoint(outsideIP, 443), "1000")
	port := c.number()
	c.ended()
	want(t, rows.final(t, 1, client(c))[0], map[string]any{"client_address": aIP, "client_port": port, "client_nat_address": "", "client_method": "cookie",
		"to_server_bytes": 1000, "to_client_bytes": 700, "reporter": "client"})
	told := rows.all(t, "weir_self", func(r row) bool { return r.tag("stage") == "conntrack" })
	if len(told) == 0 || told[0].num("errors") < 1 || told[0].num("namespaces") != 0 {
		t.Errorf("weir_self does not tell: %v", told)
	}
	const says = "no conntrack in this kernel"
	if log := p.Log(); !strings.Contains(log, says) {
		t.Errorf("the log does not say %q", says)
	}
	doctor := exec.Command(binary, "doctor", "--packets", "off", "--listen", "", "--journal", "", "--docker", "/nonexistent")
	withoutNetfilter(doctor)
	out, err := doctor.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "nat=unavailable: "+says) {
		t.Errorf("doctor: %v\n%.3000s", err, out)
	}
	p.Stop(t)
}
