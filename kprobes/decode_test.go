package kprobes

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
)

// octets is the record as the kernel would write it, with data behind it.
func octets[T record](r T, data string) []byte {
	b := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))...)
	b = append(b, data...)
	for len(b)%8 != 0 {
		b = append(b, 0xa5)
	}
	hdr := (*wireHeader)(unsafe.Pointer(&b[0]))
	hdr.Len = uint32(len(b))
	return b
}

func newDecoder() *decoder {
	d := &decoder{
		listener: func(*SocketEvent) {},
		ended:    func(uint64) {},
		datagram: func(*wireDatagram) {},
	}
	d.clock = clock.At(1000)
	return d
}

func sampleSock() wireSock {
	w := wireSock{
		wireHeader: wireHeader{Time: 90, Type: recSockClosed},
		Cookie:     7, Open: 10, SYN: 20, Established: 0, Sent: 5, Received: 6,
		Opener: wireOwner{Start: 1, TGID: 2, UID: 3, CgroupV1: 4, CgroupV2: 5, How: uint8(OwnerConnect), Comm: [16]byte{'c', 'u', 'r', 'l'}, At: 20},
		Owner:  wireOwner{Start: 8, TGID: 9, How: uint8(OwnerIO), At: 40, Hook: uint8(IOSent), Exec: 22},
		Accept: 30, AcceptTGID: 21,
		LocalPort: 1234, RemotePort: 443, NetNS: 11, SegsOut: 12, SegsIn: 13, Retrans: 14, SRTT: 15, MinRTT: 16,
		Err: int32(unix.ETIMEDOUT), Switches: 17, SndBase: 18, RcvBase: 19,
		Flags: flagBaseline | flagFinAcked | flagHasBase, Role: uint8(RoleClient), State: uint8(TCPFinWait2),
	}
	w.LocalAddr, w.RemoteAddr = loopback4, [16]byte{0: 0x20, 15: 1}
	return w
}

func TestDecodeSocket(t *testing.T) {
	var r recorder
	d := newDecoder()
	d.self = ProcessID{PID: 9, Start: 8}
	if rest := d.next(octets(sampleSock(), ""), &r); len(rest) != 0 || d.errors != 0 {
		t.Fatalf("rest %d, errors %d", len(rest), d.errors)
	}
	want := []SocketEvent{{
		Kind: SocketClosed, Role: RoleClient, Time: 1090, Cookie: 7,
		Key:   flows.Key{Src: loopback4, Dst: flows.Addr{0: 0x20, 15: 1}, SrcPort: 1234, DstPort: 443, Proto: flows.TCP, NetNS: 11},
		State: TCPFinWait2, Baseline: true, Self: true, FinAcked: true, HasBase: true,
		Opener:   Owner{ProcessID: ProcessID{PID: 2, Start: 1}, UID: 3, CgroupV1: 4, CgroupV2: 5, How: OwnerConnect, Comm: Comm{'c', 'u', 'r', 'l'}},
		Owner:    Owner{ProcessID: ProcessID{PID: 9, Start: 8}, How: OwnerIO, Exec: 22},
		OpenerAt: 1020, OwnerAt: 1040, OwnerHook: IOSent, Accepted: 1030, Acceptor: 21,
		Switches: 17, Opened: 1010, SYN: 1020, Sent: 5, Received: 6,
		SegsOut: 12, SegsIn: 13, Retransmits: 14, SRTT: 15, MinRTT: 16,
		Errno: int32(unix.ETIMEDOUT), SndBase: 18, RcvBase: 19,
	}}
	if diff := cmp.Diff(want, r.sockets); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeProcess(t *testing.T) {
	var r recorder
	d := newDecoder()
	w := wireProc{
		wireHeader: wireHeader{Time: 5, Type: recProcExec},
		Who:        wireOwner{Start: 1, TGID: 2, UID: 3, CgroupV1: 4, CgroupV2: 5, Comm: [16]byte{'s', 'h'}},
		ParentTGID: 6, ParentStart: 7, FilenameLen: 7, ExeLen: 4, CmdlineLen: 5,
	}
	self := w
	self.Type, self.FilenameLen, self.ExeLen, self.CmdlineLen = recSelf, 0, 0, 0
	stream := append(octets(w, "/bin/shdashsh\x00-c"), octets(self, "")...)
	for len(stream) > 0 {
		stream = d.next(stream, &r)
	}
	want := []ProcessEvent{{
		Kind: ProcessExec, Time: 1005, ProcessID: ProcessID{PID: 2, Start: 1}, Parent: ProcessID{PID: 6, Start: 7},
		UID: 3, CgroupV1: 4, CgroupV2: 5, Comm: Comm{'s', 'h'},
		Filename: []byte("/bin/sh"), Exe: []byte("dash"), Cmdline: []byte("sh\x00-c"),
	}}
	if diff := cmp.Diff(want, r.procs); diff != "" {
		t.Error(diff)
	}
	if d.self != (ProcessID{PID: 2, Start: 1}) || d.errors != 0 {
		t.Errorf("self %v, errors %d", d.self, d.errors)
	}
}

func TestDecodeCgroup(t *testing.T) {
	var r recorder
	d := newDecoder()
	path := "/docker/" + strings.Repeat("a", 64)
	w := wireCgroup{wireHeader: wireHeader{Type: recCgroupRemoved}, ID: 42, Unified: 1, PathLen: uint16(len(path))}
	d.next(octets(w, path), &r)
	want := []CgroupEvent{{Kind: CgroupRemoved, ID: 42, Unified: true, Path: []byte(path)}}
	if diff := cmp.Diff(want, r.cgroups); diff != "" {
		t.Error(diff)
	}
}

// A port of the kernel's own is told as its listener; one from before the bootstrap
// may be anybody's.
func TestDecodeKernelBound(t *testing.T) {
	var r recorder
	d := newDecoder()
	w := wireBound{wireHeader: wireHeader{Time: 90, Type: recKernelBound}, NetNS: 11, LocalPort: 4789, Proto: uint8(flows.UDP), LocalAddr: loopback4}
	for _, since := range []uint64{0, 91, 90} {
		d.bootstrapped = since
		d.next(octets(w, ""), &r)
	}
	if len(r.sockets) != 1 || d.errors != 0 {
		t.Fatalf("%+v, %d errors", r.sockets, d.errors)
	}
	e := &r.sockets[0]
	want := flows.Key{Src: loopback4, SrcPort: 4789, Proto: flows.UDP, NetNS: 11}
	if e.Role != RoleListener || e.Time != 1090 || e.Key != want || !e.Owner.IsKernel() || e.Owner.Comm.String() != "kernel" {
		t.Errorf("%+v", e)
	}
}

func TestDecodeErrors(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":               {},
		"half a header":       make([]byte, 10),
		"length zero":         make([]byte, 16),
		"longer than it is":   octets(sampleSock(), "")[:200],
		"unknown type":        octets(wireHeader{Type: 99}, ""),
		"too short for type":  octets(wireHeader{Type: recSockClosed}, "abc"),
		"strings beyond end":  octets(wireProc{wireHeader: wireHeader{Type: recProcExec}, CmdlineLen: 500}, "x"),
		"path beyond the end": octets(wireCgroup{wireHeader: wireHeader{Type: recCgroupCreated}, PathLen: 9}, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			var r recorder
			d := newDecoder()
			d.next(b, &r)
			if d.errors != 1 || len(r.sockets)+len(r.procs)+len(r.cgroups) != 0 {
				t.Errorf("%d errors, %+v", d.errors, r)
			}
		})
	}
}

// discard is a Handler that keeps nothing.
type discard struct{ n int }

func (d *discard) Socket(*SocketEvent)   { d.n++ }
func (d *discard) Peer(*PeerEvent)       { d.n++ }
func (d *discard) Process(*ProcessEvent) { d.n++ }
func (d *discard) Cgroup(*CgroupEvent)   { d.n++ }
func (d *discard) NAT(*flows.NAT)        { d.n++ }

func sampleStream() []byte {
	b := octets(sampleSock(), "")
	b = append(b, octets(wireProc{wireHeader: wireHeader{Type: recProcExec}, FilenameLen: 4, CmdlineLen: 3}, "fileabc")...)
	b = append(b, octets(wireDatagram{wireHeader: wireHeader{Type: recDatagramReleased}, Cookie: 1}, "")...)
	b = append(b, octets(wireBound{wireHeader: wireHeader{Time: 1, Type: recKernelBound}}, "")...)
	return append(b, octets(wireCgroup{wireHeader: wireHeader{Type: recCgroupCreated}, PathLen: 5}, "/path")...)
}

func TestDecodeAllocs(t *testing.T) {
	d, b := newDecoder(), sampleStream()
	var h Handler = &discard{}
	if n := testing.AllocsPerRun(100, func() {
		for rest := b; len(rest) > 0; {
			rest = d.next(rest, h)
		}
	}); n != 0 {
		t.Errorf("%v allocations for four records", n)
	}
	if d.errors != 0 {
		t.Errorf("%d errors", d.errors)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sampleStream())
	f.Add(octets(wireProc{wireHeader: wireHeader{Type: recProcExec}, FilenameLen: 0xffff, ExeLen: 0xffff, CmdlineLen: 0xffff}, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDecoder()
		h := &discard{}
		for rest := b; len(rest) > 0; {
			next := d.next(rest, h)
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			rest = next
		}
		if d.errors == 0 && h.n == 0 && len(b) >= int(unsafe.Sizeof(wireSock{})) && b[8] == recSockClosed {
			t.Fatal("a record vanished")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	d, stream := newDecoder(), sampleStream()
	var h Handler = &discard{}
	b.ReportAllocs()
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			rest = d.next(rest, h)
		}
	}
}

func TestFindCgroup2(t *testing.T) {
	for _, c := range []struct{ name, mounts, want string }{
		{"none", "25 1 0:22 / /sys rw - sysfs sysfs rw\n", ""},
		{"unified", "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"hybrid", "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		{"root preferred", "32 30 0:28 /docker/x /a rw - cgroup2 c rw\n33 30 0:28 / /b\\040c rw - cgroup2 c rw\n", "/b c"},
		{"part only", "32 30 0:28 /docker/x /a rw - cgroup2 c rw\n", "/a"},
		{"nonsense", "a - cgroup2 \n", ""},
	} {
		if got := findCgroup2(strings.NewReader(c.mounts)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if (Config{}).withDefaults().PeerIdle != c.PeerIdle {
		t.Error("the zero value is not the default")
	}
	c.PeerIdle = -1
	if _, err := Load(c); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("negative idle time: %v", err)
	}
}
