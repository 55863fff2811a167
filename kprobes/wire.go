package kprobes

import "unsafe"

// The records the BPF programs write, as bpf/include/wire.h lays them out;
// TestWireLayout compares the two through the BTF of the objects. They are
// converted in decode.go and never leave the package.

const (
	recSockClosed = iota + 1
	recSockSnapshot
	recListenEnd
	recDatagramOwner
	recDatagramReleased
	recKernelBound
	recNAT
	recPayload
)

const (
	recProcExisting = iota + 16
	recProcFork
	recProcExec
	recProcExit
	recCgroupCreated
	recCgroupRemoved
	recSelf
)

const (
	flagBaseline    = 1
	flagFinReceived = 16
	flagFinAcked    = 32
	flagHasBase     = 64
	flagRedirected  = 128
	flagNoSYN       = 256
	flagUnread      = 512
	flagLinger      = 1024
)

type wireHeader struct {
	Time uint64
	Type uint32
	Len  uint32
}

type wireOwner struct {
	Start    uint64
	CgroupV2 uint64
	CgroupV1 uint64
	At       uint64
	TGID     uint32
	UID      uint32
	Comm     [16]byte
	How      uint8
	Hook     uint8
	_        [2]byte
	Exec     uint32
}

type wireSock struct {
	wireHeader
	Cookie                          uint64
	Open, SYN, Established, Accept  uint64
	Sent, Received                  uint64
	Opener, Owner                   wireOwner
	LocalAddr, RemoteAddr           [16]byte
	NetNS, SegsOut, SegsIn, Retrans uint32
	SRTT, MinRTT, MeanDeviation     uint32
	OutOfOrder, Duplicates          uint32
	Err                             int32
	Switches                        uint32
	SndBase, RcvBase                uint32
	AcceptTGID                      uint32
	Drops, Waiting, Backlog         uint32
	LocalPort, RemotePort           uint16
	Flags                           uint16
	Role, State                     uint8
	_                               uint32
}

type wireDatagram struct {
	wireHeader
	Cookie        uint64
	Opener, Owner wireOwner
	NetNS         uint32
	Switches      uint32
	Refused       uint32
	_             uint32
}

type wireBound struct {
	wireHeader
	LocalAddr [16]byte
	NetNS     uint32
	LocalPort uint16
	Proto     uint8
	_         uint8
}

// wirePayload is l7_rec without its data, which follows in the buffer.
type wirePayload struct {
	wireHeader
	Cookie                          uint64
	PrevFirst, PrevLast, PrevOctets uint64
	OwnerStart                      uint64
	OwnerTGID                       uint32
	NetNS                           uint32
	Seq, PayloadLen, PrevNext       uint32
	LocalPort, RemotePort           uint16
	LocalAddr, RemoteAddr           [16]byte
	DataLen                         uint16
	Proto, Role, Flags              uint8
	_                               [3]byte
	Skipped                         uint32
	_                               uint32
}

type wireTuple struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Proto            uint8
	_                [3]byte
}

type wireNAT struct {
	wireHeader
	Orig, Reply wireTuple
	NetNS       uint32
	_           uint32
}

// wireProc is proc_rec without its data, which follows in the buffer.
type wireProc struct {
	wireHeader
	Who                             wireOwner
	ParentStart                     uint64
	ParentTGID                      uint32
	FilenameLen, ExeLen, CmdlineLen uint16
	_                               [6]byte
}

// wireCgroup is cgroup_rec without its path, which follows in the buffer.
type wireCgroup struct {
	wireHeader
	ID      uint64
	PathLen uint16
	Unified uint8
	_       [5]byte
}

type peerKey struct {
	Cookie     uint64
	RemoteAddr [16]byte
	RemotePort uint16
	Proto      uint8
	_          [5]byte
}

type peerValue struct {
	TxPackets, TxBytes, RxPackets, RxBytes uint64
	First, Last                            uint64
	LocalAddr                              [16]byte
	LocalPort                              uint16
	FirstIsIngress                         uint8
	_                                      [5]byte
}

const headerSize = int(unsafe.Sizeof(wireHeader{}))

// record is any wire struct that is copied out of a buffer as it is.
type record interface {
	wireHeader | wireSock | wireDatagram | wireBound | wireNAT | wireProc | wireCgroup | wirePayload
}

// load copies the record at the start of b into dst, whatever b's alignment,
// and says whether b was long enough.
func load[T record](dst *T, b []byte) bool {
	size := int(unsafe.Sizeof(*dst))
	if len(b) < size {
		return false
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(dst)), size), b)
	return true
}

const (
	wireProcSize    = int(unsafe.Sizeof(wireProc{}))
	wireCgroupSize  = int(unsafe.Sizeof(wireCgroup{}))
	wirePayloadSize = int(unsafe.Sizeof(wirePayload{}))
	// cgroupPathMax is CGROUP_PATH_MAX, the NUL at the end included.
	cgroupPathMax = 512
)
