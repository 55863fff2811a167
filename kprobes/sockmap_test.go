package kprobes

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// redirected is the smallest message that newSockmap's program passes on.
const redirected = 1000

// sockmap redirects between sockets: what one with local port p sends goes to the
// reader of the socket at p.
type sockmap struct{ *ebpf.Map }

func emptySockmap(t *testing.T) sockmap {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 4, MaxEntries: 1 << 16})
	if err != nil {
		t.Skip("this kernel has no sockmap: ", err)
	}
	t.Cleanup(func() { m.Close() })
	return sockmap{m}
}

// run makes p the map's program and closes it.
func (m sockmap) run(t *testing.T, p *ebpf.Program, at ebpf.AttachType) {
	t.Helper()
	defer p.Close()
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: m.FD(), Program: p, Attach: at}); err != nil {
		t.Fatal(err)
	}
}

// newSockmap returns one whose program redirects what has at least redirected octets
// and leaves the rest to the wire.
func newSockmap(t *testing.T) sockmap {
	t.Helper()
	m := emptySockmap(t)
	const localPort, size = 64, 68 // in struct sk_msg_md
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SkMsg, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, size, asm.Word),
		asm.JLT.Imm(asm.R2, redirected, "pass"),
		asm.LoadMem(asm.R3, asm.R1, localPort, asm.Word),
		asm.LoadMapPtr(asm.R2, m.FD()),
		asm.Mov.Imm(asm.R4, 1), // BPF_F_INGRESS
		asm.FnMsgRedirectMap.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"), // SK_PASS
		asm.Return(),
	}})
	if err != nil {
		t.Skip("this kernel has no sk_msg: ", err)
	}
	m.run(t, p, ebpf.AttachSkMsgVerdict)
	return m
}

// join puts both ends of a connection into the map.
func (m sockmap) join(t *testing.T, a, b *net.TCPConn) {
	t.Helper()
	m.put(t, port(a.LocalAddr()), b)
	m.put(t, port(b.LocalAddr()), a)
}

func (m sockmap) put(t *testing.T, key uint16, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var put error
	if err := raw.Control(func(fd uintptr) { put = m.Put(uint32(key), uint32(fd)) }); err != nil {
		t.Fatal(err)
	}
	if put != nil {
		t.Fatal(put)
	}
}

// TestKernelSockmap: octets that a BPF program passes from socket to socket are
// counted with those that went over the wire, in snapshots and at the end; being in
// a map alone makes no socket one of these.
func TestKernelSockmap(t *testing.T) {
	f := start(t, Config{})
	for _, p := range []string{"sock_send_length", "sock_recv_length"} {
		if !f.attached(p) {
			t.Skipf("this kernel has no %s", p)
		}
	}
	m := newSockmap(t)
	for _, c := range []struct {
		name         string
		before, then [][2]int // sizes of messages to the server and to the client
		redirected   bool
	}{
		{"redirected", nil, [][2]int{{5000, 7000}, {1000, 3000}}, true},
		{"one way", nil, [][2]int{{5000, 30}}, true},
		{"mixed", nil, [][2]int{{30, 7000}, {5000, 40}, {500, 2000}}, true},
		{"latecomer", [][2]int{{300, 400}}, [][2]int{{5000, 7000}, {60, 70}}, true},
		{"by wire", nil, [][2]int{{30, 40}, {500, 600}}, false},
		{"latecomer by wire", [][2]int{{3000, 4000}}, [][2]int{{30, 40}, {500, 600}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := pair(t)
			local, remote := ports(client)
			var up, down int
			exchange := func(sizes [][2]int) {
				for _, n := range sizes {
					transfer(t, client, server, n[0])
					transfer(t, server, client, n[1])
					up, down = up+n[0], down+n[1]
				}
			}
			exchange(c.before)
			f.snapshot()
			m.join(t, client, server)
			exchange(c.then)
			is := func(e *SocketEvent, sent, received int) bool {
				return e.Sent == uint64(sent) && e.Received == uint64(received) && e.Redirected == c.redirected
			}
			check := func(e *SocketEvent, sent, received int) {
				t.Helper()
				if !is(e, sent, received) {
					t.Errorf("%v: sent %d, received %d, redirected %v; want %d, %d, %v", e.Role, e.Sent, e.Received, e.Redirected, sent, received, c.redirected)
				}
			}
			f.until("snapshot with all octets", f.snapshot, func() bool { // what went by wire has to be acknowledged
				return is(f.socket(SocketSnapshot, local, remote), up, down) && is(f.socket(SocketSnapshot, remote, local), down, up)
			})
			client.Close()
			eof(t, server)
			server.Close()
			check(f.closed(local, remote), up, down)
			check(f.closed(remote, local), down, up)
		})
	}
}

// TestKernelSockmapPeek: looking at what waits is not receiving it.
func TestKernelSockmapPeek(t *testing.T) {
	f := start(t, Config{})
	if !f.attached("sock_recv_length") {
		t.Skip("this kernel has no sock_recv_length")
	}
	m := newSockmap(t)
	client, server := pair(t)
	m.join(t, client, server)
	if _, err := client.Write(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Read(func(fd uintptr) bool {
		n, _, e := unix.Recvfrom(int(fd), make([]byte, 2000), unix.MSG_PEEK)
		if err = e; e == nil && n != 2000 {
			err = fmt.Errorf("%d octets to be seen", n)
		}
		return e != unix.EAGAIN
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	local, remote := ports(server)
	f.snapshot()
	if e := f.socket(SocketSnapshot, local, remote); e.Received != 2000 {
		t.Errorf("received %d, want 2000", e.Received)
	}
}

// TestKernelSockmapSplice: where a map sends over one connection what another one
// received, both are on the wire: TCP counts them, and the worker of the kernel that
// does it is no owner.
func TestKernelSockmapSplice(t *testing.T) {
	f := start(t, Config{})
	f.need("sock_send_length")
	m := emptySockmap(t)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SkSKB, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMapPtr(asm.R2, m.FD()),
		asm.Mov.Imm(asm.R3, 0), // the socket to send from
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkRedirectMap.Call(),
		asm.Return(),
	}})
	if err != nil {
		t.Skip("this kernel has no sk_skb: ", err)
	}
	m.run(t, p, ebpf.AttachSkSKBStreamVerdict)
	client, in := pair(t)
	out, server := pair(t)
	m.put(t, 0, out)
	m.put(t, 1, in)
	transfer(t, client, server, 5000)
	transfer(t, client, server, 70)
	inLocal, inRemote := ports(in)
	outLocal, outRemote := ports(out)
	out.Close()
	eof(t, server)
	server.Close()
	if e := f.closed(outLocal, outRemote); e.Sent != 5070 || e.Received != 0 || e.Redirected || e.Owner.IsKernel() || e.Owner.PID != uint32(os.Getpid()) {
		t.Errorf("sent %d, received %d, redirected %v by %s", e.Sent, e.Received, e.Redirected, e.Owner.Comm)
	}
	client.Close()
	in.Close()
	if e := f.closed(inLocal, inRemote); e.Received != 5070 || e.Redirected {
		t.Errorf("received %d, redirected %v", e.Received, e.Redirected)
	}
}
