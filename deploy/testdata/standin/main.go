// Command standin takes weir's place in the container image and says what the
// container lets it do: one "name=ok" or "name=error" per line.
package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "health" {
		return
	}
	say("map", bpf(0, mapAttr{kind: 1, keySize: 4, valueSize: 4, entries: 1})) // BPF_MAP_CREATE, a hash
	say("tracing program", loadTracing())
	say("btf", open("/sys/kernel/btf/vmlinux"))
	say("cgroups", open("/sys/fs/cgroup"))
	say("docker socket", dial("/var/run/docker.sock"))
	// the last argument is a process of the host
	pid := os.Args[len(os.Args)-1]
	_, err := os.Readlink("/proc/" + pid + "/exe")
	say("other processes", err)
	_, err = os.Readlink("/proc/" + pid + "/ns/net")
	say("other namespaces", err)
	say("token", open("/secrets/token"))
	say("journal", os.WriteFile("/var/lib/weir/probe", nil, 0o600))
	say("root file system", os.WriteFile("/probe", nil, 0o600))
	say("module loading", unix.FinitModule(-1, "", 0))
	_, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	say("raw sockets", err)
}

func say(what string, err error) {
	if err == nil {
		fmt.Println(what + "=ok")
		return
	}
	fmt.Printf("%s=%v\n", what, err)
}

func open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

func dial(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

type mapAttr struct{ kind, keySize, valueSize, entries, flags uint32 }

type progAttr struct {
	kind, count           uint32
	instructions, license uint64
	level, size           uint32
	log                   uint64
	version, flags        uint32
	name                  [16]byte
	ifindex, attachType   uint32
}

func bpf(command uintptr, attr mapAttr) error {
	return call(command, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// loadTracing loads "return 0" as a raw tracepoint program: that wants PERFMON.
func loadTracing() error {
	code := []uint64{0x00000000000000b7, 0x0000000000000095} // mov r0, 0; exit
	license := []byte("GPL\x00")
	attr := progAttr{kind: 17, count: uint32(len(code)),
		instructions: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	return call(5, unsafe.Pointer(&attr), unsafe.Sizeof(attr)) // BPF_PROG_LOAD
}

func call(command uintptr, attr unsafe.Pointer, size uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size); errno != 0 {
		return errno
	}
	return nil
}
