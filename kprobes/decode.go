package kprobes

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
	"golang.org/x/sys/unix"
)

// decoder turns wire records into events. It owns the events it hands out and
// reuses them: nothing is allocated per record.
type decoder struct {
	clock clock.Clock
	self  ProcessID

	sock   SocketEvent
	proc   ProcessEvent
	cgroup CgroupEvent
	nat    flows.NAT
	load   PayloadEvent

	wireSock   wireSock
	wireDgram  wireDatagram
	wireBound  wireBound
	wireNAT    wireNAT
	wireProc   wireProc
	wireCgroup wireCgroup
	wireLoad   wirePayload

	// what the Set itself wants to know
	listener func(*SocketEvent)
	ended    func(cookie uint64)
	datagram func(*wireDatagram)

	bootstrapped uint64 // boottime ns when the sockets of before were all known, 0 not yet

	errors uint64 // records that could not be understood
}

// next decodes the first record of a stream of records and returns the rest;
// nil when b is used up or cannot be understood (counted).
func (d *decoder) next(b []byte, h Handler) []byte {
	var hdr wireHeader
	if !load(&hdr, b) || int(hdr.Len) < headerSize || uint64(hdr.Len) > uint64(len(b)) {
		d.errors++
		return nil
	}
	if !d.decode(b[:hdr.Len], hdr.Type, h) {
		d.errors++
	}
	return b[hdr.Len:]
}

// decode hands the one record in b to h and says whether it was understood.
func (d *decoder) decode(b []byte, typ uint32, h Handler) bool {
	switch typ {
	case recSockClosed, recSockSnapshot:
		return d.socket(b, typ, h)
	case recListenEnd, recDatagramOwner, recDatagramReleased:
		if !load(&d.wireDgram, b) {
			return false
		}
		if typ == recListenEnd {
			d.ended(d.wireDgram.Cookie)
			d.sock = SocketEvent{Kind: SocketClosed, Role: RoleListener, Cookie: d.wireDgram.Cookie, Time: d.clock.Unix(d.wireDgram.Time)}
			h.Socket(&d.sock)
		} else {
			d.datagram(&d.wireDgram)
		}
		return true
	case recKernelBound:
		return d.kernelBound(b, h)
	case recNAT:
		return d.translation(b, h)
	case recPayload:
		return d.payload(b, h)
	case recProcExisting, recProcFork, recProcExec, recProcExit, recSelf:
		return d.process(b, typ, h)
	case recCgroupCreated, recCgroupRemoved:
		return d.cgroupEvent(b, typ, h)
	}
	return false
}

func (d *decoder) socket(b []byte, typ uint32, h Handler) bool {
	w, e := &d.wireSock, &d.sock
	if !load(w, b) {
		return false
	}
	*e = SocketEvent{
		Kind:   SocketSnapshot,
		Role:   Role(w.Role),
		Time:   d.clock.Unix(w.Time),
		Cookie: w.Cookie,
		Key: flows.Key{
			Src: w.LocalAddr, Dst: w.RemoteAddr, SrcPort: w.LocalPort, DstPort: w.RemotePort,
			Proto: flows.TCP, NetNS: w.NetNS,
		},
		State:       TCPState(w.State),
		Baseline:    w.Flags&flagBaseline != 0,
		FinReceived: w.Flags&flagFinReceived != 0,
		FinAcked:    w.Flags&flagFinAcked != 0,
		HasBase:     w.Flags&flagHasBase != 0,
		Redirected:  w.Flags&flagRedirected != 0,
		NoSYN:       w.Flags&flagNoSYN != 0,
		Drops:       w.Drops,
		Waiting:     w.Waiting,
		Backlog:     w.Backlog,
		Switches:    w.Switches,
		Opened:      d.clock.Unix(w.Open),
		SYN:         d.clock.Unix(w.SYN),
		Established: d.clock.Unix(w.Established),
		Sent:        w.Sent,
		Received:    w.Received,
		SegsOut:     w.SegsOut,
		SegsIn:      w.SegsIn,
		Retransmits: w.Retrans,
		SRTT:        w.SRTT,
		MinRTT:      w.MinRTT,
		Jitter:      w.MeanDeviation,
		OutOfOrder:  w.OutOfOrder,
		Duplicates:  w.Duplicates,
		Errno:       w.Err,
		SndBase:     w.SndBase,
		RcvBase:     w.RcvBase,
	}
	setOwner(&e.Opener, &w.Opener)
	setOwner(&e.Owner, &w.Owner)
	e.OpenerAt, e.OwnerAt, e.OwnerHook = d.clock.Unix(w.Opener.At), d.clock.Unix(w.Owner.At), IOHook(w.Owner.Hook)
	e.Accepted, e.Acceptor = d.clock.Unix(w.Accept), w.AcceptTGID
	e.Self = d.isSelf(&e.Owner) || !e.Owner.Known() && d.isSelf(&e.Opener)
	if typ == recSockClosed {
		e.Kind, e.Reset = SocketClosed, resetReason(w.Flags)
		// The kernel had no port left: it fails after SYN_SENT and leaves
		// nothing in sk_err.
		if e.State == TCPSynSent && e.Errno == 0 && e.Key.SrcPort == 0 && !e.NoSYN {
			e.Errno = int32(unix.EADDRNOTAVAIL)
		}
	}
	if e.Role == RoleListener {
		e.Sent, e.Received, e.HasBase = 0, 0, false
		d.listener(e)
	}
	h.Socket(e)
	return true
}

func resetReason(flags uint16) ResetReason {
	switch {
	case flags&flagUnread != 0:
		return ResetUnread
	case flags&flagLinger != 0:
		return ResetLinger
	}
	return ResetUnknown
}

// kernelBound tells of a port of the kernel's own. One from before the bootstrap may
// be a process's socket that was not known yet.
func (d *decoder) kernelBound(b []byte, h Handler) bool {
	w := &d.wireBound
	if !load(w, b) {
		return false
	}
	if d.bootstrapped == 0 || w.Time < d.bootstrapped {
		return true
	}
	d.sock = SocketEvent{
		Kind: SocketSnapshot, Role: RoleListener, Time: d.clock.Unix(w.Time),
		Key:    flows.Key{Src: w.LocalAddr, SrcPort: w.LocalPort, Proto: flows.Proto(w.Proto), NetNS: w.NetNS},
		Opener: kernelOwner, Owner: kernelOwner,
	}
	h.Socket(&d.sock)
	return true
}

// kernelOwner stands for the kernel where no task of it is known: kthreadd, the
// parent of its threads.
var kernelOwner = Owner{ProcessID: ProcessID{PID: kthreadd}, Comm: Comm{'k', 'e', 'r', 'n', 'e', 'l'}, How: OwnerCreate}

const kthreadd = 2

// IsKernel says whether the owner is the kernel, not a process.
func (o *Owner) IsKernel() bool { return o.PID == kthreadd }

func (d *decoder) translation(b []byte, h Handler) bool {
	w := &d.wireNAT
	if !load(w, b) {
		return false
	}
	d.nat = flows.NAT{Time: d.clock.Unix(w.Time), Orig: w.Orig.key(w.NetNS), Reply: w.Reply.key(w.NetNS)}
	h.NAT(&d.nat)
	return true
}

func (t *wireTuple) key(netns uint32) flows.Key {
	return flows.NATKey(t.Src, t.Dst, t.SrcPort, t.DstPort, flows.Proto(t.Proto), netns)
}

func (d *decoder) isSelf(o *Owner) bool { return o.Known() && o.ProcessID == d.self }

func setOwner(o *Owner, w *wireOwner) {
	o.ProcessID = ProcessID{PID: w.TGID, Start: w.Start}
	o.UID = w.UID
	o.CgroupV2, o.CgroupV1 = w.CgroupV2, w.CgroupV1
	o.Comm = w.Comm
	o.How = OwnerHow(w.How)
	o.Exec = w.Exec
}

// processKinds is indexed by the record type, from recProcExisting on.
var processKinds = [...]ProcessKind{ProcessExisting, ProcessFork, ProcessExec, ProcessExit}

func (d *decoder) process(b []byte, typ uint32, h Handler) bool {
	w, e := &d.wireProc, &d.proc
	if !load(w, b) {
		return false
	}
	id := ProcessID{PID: w.Who.TGID, Start: w.Who.Start}
	if typ == recSelf {
		d.self = id
		return true
	}
	data := b[wireProcSize:]
	file, exe, args := int(w.FilenameLen), int(w.ExeLen), int(w.CmdlineLen)
	if file+exe+args > len(data) {
		return false
	}
	*e = ProcessEvent{
		Kind:      processKinds[typ-recProcExisting],
		Time:      d.clock.Unix(w.Time),
		ProcessID: id,
		Parent:    ProcessID{PID: w.ParentTGID, Start: w.ParentStart},
		UID:       w.Who.UID,
		CgroupV2:  w.Who.CgroupV2,
		CgroupV1:  w.Who.CgroupV1,
		Comm:      w.Who.Comm,
		Exec:      w.Who.Exec,
		Filename:  data[:file],
		Exe:       data[file : file+exe],
		Cmdline:   data[file+exe : file+exe+args],
	}
	h.Process(e)
	return true
}

func (d *decoder) cgroupEvent(b []byte, typ uint32, h Handler) bool {
	w, e := &d.wireCgroup, &d.cgroup
	if !load(w, b) {
		return false
	}
	path := b[wireCgroupSize:]
	if int(w.PathLen) > len(path) {
		return false
	}
	*e = CgroupEvent{
		Kind:    CgroupCreated,
		Time:    d.clock.Unix(w.Time),
		ID:      w.ID,
		Unified: w.Unified != 0,
		Path:    path[:w.PathLen],

		Truncated: w.PathLen >= cgroupPathMax-1,
	}
	if typ == recCgroupRemoved {
		e.Kind = CgroupRemoved
	}
	h.Cgroup(e)
	return true
}
