package cases

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
)

// sockmapChildren talk in turns, so that both sockets are in the map by their first
// octet: a server's is when it is accepted.
var sockmapChildren = map[string]func(args []string) error{
	"speakfirst": childSpeakFirst,
	"hear":       childHear,
}

// childSpeakFirst accepts connections at args[0] and prints its port; to each it
// sends args[1] octets and then reads to the end.
func childSpeakFirst(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if _, err := c.Write(make([]byte, n)); err != nil {
			return err
		}
		got, err := io.Copy(io.Discard, c)
		if err != nil {
			return err
		}
		c.Close()
		fmt.Println(got)
	}
}

// childHear connects to args[0], reads args[1] octets, sends args[2] and exits.
func childHear(args []string) error {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	in, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	out, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, in)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, out)); err != nil {
		return err
	}
	return c.Close()
}

// accelerate puts both ends of every connection that processes of a cgroup open or
// accept into a sockmap, and passes what they send straight to the other end, as
// agents of service meshes do.
func accelerate(t *testing.T, group string) {
	t.Helper()
	sockmap, err := bpf(unix.BPF_MAP_CREATE, &struct{ kind, keySize, valueSize, entries uint32 }{unix.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1 << 16})
	if errors.Is(err, unix.EINVAL) {
		t.Skip("not stageable here: this kernel has no sockmap (CONFIG_NET_SOCK_MSG)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(sockmap) })
	join := load(t, unix.BPF_PROG_TYPE_SOCK_OPS, append([]insn{
		{0x61, 0x12, 0, 0},                  // r2 = ctx->op
		{0x15, 0x02, 1, 4},                  // BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: join
		{0x55, 0x02, 8, 5},                  // not BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: done
		{0x61, 0x12, 68, 0},                 // r2 = ctx->local_port
		{0x63, 0x2a, -4, 0},                 // is the key
		{0xbf, 0xa3, 0, 0},                  // r3 = r10
		{0x07, 0x03, 0, -4},                 // r3 -= 4
		{0x18, 0x12, 0, int32(sockmap)}, {}, // r2 = the map
		{0xb7, 0x04, 0, 0},  // r4 = BPF_ANY
		{0x85, 0x00, 0, 53}, // bpf_sock_map_update
	}, returns(1)...))
	attach(t, join, groupFD(t, group), unix.BPF_CGROUP_SOCK_OPS)
	pass := load(t, unix.BPF_PROG_TYPE_SK_MSG, []insn{
		{0x61, 0x13, 60, 0},                 // r3 = ctx->remote_port, in network order
		{0xdc, 0x03, 0, 32},                 // r3 = be32(r3): the other end's key
		{0x18, 0x12, 0, int32(sockmap)}, {}, // r2 = the map
		{0xb7, 0x04, 0, unix.BPF_F_INGRESS}, // r4 = to its reader
		{0x85, 0x00, 0, 60},                 // bpf_msg_redirect_map
		{0x95, 0x00, 0, 0},
	})
	attach(t, pass, sockmap, unix.BPF_SK_MSG_VERDICT)
}

// insn is struct bpf_insn; regs holds the source in its upper half.
type insn struct {
	code, regs uint8
	off        int16
	imm        int32
}

func returns(n int32) []insn { return []insn{{0xb7, 0x00, 0, n}, {0x95, 0x00, 0, 0}} }

// load loads a program of a type whose attach type is not checked.
func load(t *testing.T, kind uint32, code []insn) int {
	t.Helper()
	license := []byte("GPL\x00")
	fd, err := bpf(unix.BPF_PROG_LOAD, &struct {
		kind, count   uint32
		code, license unsafe.Pointer
	}{kind, uint32(len(code)), unsafe.Pointer(&code[0]), unsafe.Pointer(&license[0])})
	if err != nil {
		t.Fatalf("load BPF program of type %d: %v", kind, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func attach(t *testing.T, program, to int, how uint32) {
	t.Helper()
	if _, err := bpf(unix.BPF_PROG_ATTACH, &struct{ to, program, how, flags uint32 }{uint32(to), uint32(program), how, 0}); err != nil {
		t.Fatalf("attach BPF program as %d: %v", how, err)
	}
}

// bpf is bpf(2).
func bpf[T any](cmd int, attr *T) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func groupFD(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// What a sockmap passes from socket to socket is in no packet: the row has its
// octets, its owners and says so; the same programs beside it have an ordinary row.
func TestCaseD13_Sockmap(t *testing.T) {
	rows := watch(t)
	alone(t, 213)
	const here = "10.211.13.1"
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "ws0", CIDR: here + "/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.211.13.2/24"})
	metered(t, rows, here, pair{box, host})
	id, procs := cgroup(t, "d")
	group := filepath.Dir(procs)
	accelerate(t, group)

	const down, up = 9000, 70001
	run := func(place func(*exec.Cmd)) (server, client *process, port int) {
		server = spawnWith(t, host, place, "speakfirst", here+":0", strconv.Itoa(down))
		port = server.number()
		client = spawnWith(t, box, place, "hear", endpoint(here, port), strconv.Itoa(down), strconv.Itoa(up))
		client.ended()
		if got := server.number(); got != up {
			t.Fatalf("the server got %d octets", got)
		}
		server.stop()
		return server, client, port
	}
	fd := groupFD(t, group)
	server, client, port := run(func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		c.Env = append(c.Env, "GODEBUG=multipathtcp=0") // a subflow of MPTCP does not go into a sockmap
	})
	plainServer, plainClient, plainPort := run(func(*exec.Cmd) {})

	owners := func(s, c *process) fields {
		return fields{"server_pid": s.Process.Pid, "client_pid": c.Process.Pid, "server_method": "cookie", "client_method": "cookie",
			"reporter": "both", "to_server_bytes": up, "to_client_bytes": down, "close_cause": "normal"}
	}
	got := rows.final(t, 1, serverPort(port))[0]
	want(t, got, owners(server, client))
	want(t, got, fields{"redirected": 1, "client_container_id": id, "server_container_id": id})
	for _, dir := range []string{"to_server", "to_client"} {
		// the handshake and the close, none of them with payload
		if packets, octets := got.num(dir+"_packets"), got.num(dir+"_wire_bytes"); packets < 2 || octets > 80*packets {
			t.Errorf("%s: %d octets in %d packets: %v", dir, octets, packets, got)
		}
	}
	got = rows.final(t, 1, serverPort(plainPort))[0]
	want(t, got, owners(plainServer, plainClient))
	want(t, got, fields{"redirected": -1})
	once(t, got, up, down, 54)
}
