package kprobes

import "github.com/weir-probe/weir/flows"

// Handler receives decoded events. The pointed-to event is reused for the next
// one: a handler that keeps anything copies it. All methods are called from the
// goroutine that called Drain, Snapshot, Peers or Bootstrap, never concurrently.
type Handler interface {
	Socket(*SocketEvent)
	Peer(*PeerEvent)
	Process(*ProcessEvent)
	Cgroup(*CgroupEvent)
	// NAT takes a translation made in the namespace of the socket that sent the
	// packet; Orig.NetNS and Reply.NetNS name it.
	NAT(*flows.NAT)
}

// SocketKind says when a SocketEvent was taken.
type SocketKind uint8

const (
	SocketSnapshot SocketKind = iota + 1 // still open
	SocketClosed                         // its last state
)

// Role is the part a socket plays.
type Role uint8

const (
	RoleUnknown  Role = iota
	RoleClient        // it called connect, or sent the first datagram
	RoleServer        // it was accepted, or received the first datagram
	RoleListener      // TCP LISTEN
)

// OwnerHow says which hook named the owner, from weak to strong.
type OwnerHow uint8

const (
	OwnerNone      OwnerHow = iota
	OwnerBootstrap          // the probe found the descriptor in a process at its start
	OwnerListener           // inherited from the listener, provisional
	OwnerCreate             // socket()
	OwnerConnect            // connect(), bind() or listen()
	OwnerAccept             // accept() with an address
	OwnerIO                 // first data read or written
)

// IOHook says which hook saw the first read or write of an OwnerIO.
type IOHook uint8

const (
	IOUnknown  IOHook = iota
	IORead            // tp_btf/tcp_rcv_space_adjust
	IOSent            // tp_btf/sock_send_length
	IOReceived        // tp_btf/sock_recv_length
	IOSendmsg         // cgroup/sendmsg4, 6
	IORecvmsg         // cgroup/recvmsg4, 6
)

// Comm is a NUL-padded process name as the kernel keeps it (TASK_COMM_LEN).
type Comm [16]byte

// String returns the name up to the first NUL.
func (c Comm) String() string {
	for i, b := range c {
		if b == 0 {
			return string(c[:i])
		}
	}
	return string(c[:])
}

// ProcessID identifies a process for as long as the host is up: a PID alone is
// reused.
type ProcessID struct {
	PID   uint32 // TGID in the initial PID namespace
	Start uint64 // start of the thread group leader, ns of CLOCK_BOOTTIME (task_struct.start_boottime)
}

// Owner is a process that held a socket, as the kernel knew it at that moment.
type Owner struct {
	ProcessID
	UID      uint32
	CgroupV2 uint64 // kernfs id in the unified hierarchy, 0 unknown
	CgroupV1 uint64 // kernfs id in the v1 memory hierarchy, 0 where there is none
	Comm     Comm   // of the thread group leader
	How      OwnerHow
	Exec     uint32 // which image it ran, see ProcessEvent.Exec
}

// Known says whether the owner names a process.
func (o *Owner) Known() bool { return o.PID != 0 }

// TCPState is the kernel's TCP state number (include/net/tcp_states.h).
type TCPState uint8

const (
	TCPEstablished TCPState = iota + 1
	TCPSynSent
	TCPSynRecv
	TCPFinWait1
	TCPFinWait2
	TCPTimeWait
	TCPClose
	TCPCloseWait
	TCPLastAck
	TCPListen
	TCPClosing
	TCPNewSynRecv
)

// ResetReason says why the kernel answered close() with a RST.
type ResetReason uint8

const (
	ResetUnknown ResetReason = iota
	ResetUnread              // there was payload that nobody had read (RFC 1122, 4.2.2.13)
	ResetLinger              // SO_LINGER with no time: the application wanted it
)

// SocketEvent is the state of one socket at one instant. Counters are totals
// since the socket was opened or, for a socket older than the probe
// (Baseline), since the probe first saw it.
type SocketEvent struct {
	Kind   SocketKind
	Role   Role
	Time   int64     // unix ns
	Cookie uint64    // socket cookie: the key
	Key    flows.Key // Src is local, Dst the remote end; NetNS is set. v4-mapped normalised
	// State is the TCP state now; of a closed socket the state it was closed from.
	State TCPState
	// Baseline marks a socket that existed before the probe.
	Baseline bool
	// Self marks a socket of the probe itself.
	Self bool
	// FinReceived and FinAcked say how far the orderly close had got.
	FinReceived, FinAcked bool
	// Opener created the socket (connect, or the listener's owner for an
	// accepted one); Owner is who uses it now.
	Opener, Owner Owner
	// OpenerAt and OwnerAt are when these were learnt, unix ns; of an accepted
	// socket OpenerAt is when its listener's owner was. OwnerHook is the hook
	// behind Owner.How == OwnerIO.
	OpenerAt, OwnerAt int64
	OwnerHook         IOHook
	// Accepted is when the process Acceptor accepted the connection, unix ns; 0
	// when that was not seen: accept(2) without an address.
	Accepted int64
	Acceptor uint32
	// Switches counts changes of the process doing I/O.
	Switches uint32
	// Opened is the time of socket creation, SYN the first SYN_SENT or of the
	// accepted child's creation, Established when the handshake was complete.
	// Unix ns, 0 when it did not happen or was before the probe.
	Opened, SYN, Established int64
	// Sent is payload acknowledged by the peer, Received payload received in
	// order; octets, SYN and FIN not counted.
	Sent, Received uint64
	// Redirected says that some of them a BPF program of a sockmap passed from socket
	// to socket: they were in no packet, and nothing acknowledged them.
	Redirected bool
	// SegsOut, SegsIn and Retransmits are TCP segments.
	SegsOut, SegsIn, Retransmits uint32
	// SRTT is the kernel's smoothed RTT, MinRTT its windowed minimum; µs, 0 unknown.
	SRTT, MinRTT uint32
	// Jitter is the kernel's smoothed mean deviation of the RTT (RFC 6298's RTTVAR before
	// its maximum is taken), µs; valid with SRTT.
	Jitter uint32
	// OutOfOrder counts segments that came before their turn, Duplicates segments sent
	// that the peer had already (it said so: DSACK, RFC 2883).
	OutOfOrder, Duplicates uint32
	// Errno is sk_err at the moment of closing, 0 for an orderly close.
	Errno int32
	// Reset says why closing sent a RST; of a socket that was closed from a state without
	// a FIN and has no Errno.
	Reset ResetReason
	// NoSYN marks a connect() that failed before there was a SYN: no route, a policy.
	// Which error it returned is not known.
	NoSYN bool
	// Drops counts the connections that a listener had no room for: its accept queue, or
	// the queue of half-open ones, was full (or memory was short, or a policy said no). It
	// is sk_drops less what else the listener dropped, where kfree_skb_rx tells that.
	Drops uint32
	// Waiting is how many connections wait to be accepted by a listener, Backlog how
	// many may (sk_ack_backlog, sk_max_ack_backlog).
	Waiting, Backlog uint32
	// SndBase is our initial sequence number + 1, RcvBase the peer's + 1. The
	// two ends of one connection hold each other's values, whatever NAT did to
	// the addresses, so they pair both ends on one host. Valid iff HasBase.
	SndBase, RcvBase uint32
	HasBase          bool
}

// PeerEvent is what one datagram socket (UDP, ICMP) exchanged with one peer:
// totals since the entry was made.
type PeerEvent struct {
	Cookie uint64
	Key    flows.Key // Src is local, Dst the peer
	Role   Role      // by the direction of the first datagram
	Self   bool
	// Opener created the socket, Owner is who uses it now; Switches counts
	// changes of the process doing I/O, with any peer.
	Opener, Owner Owner
	Switches      uint32
	// OpenerAt and OwnerAt are when these were learnt, unix ns; OwnerHook is the
	// hook behind Owner.How == OwnerIO.
	OpenerAt, OwnerAt int64
	OwnerHook         IOHook
	// First and Last are the unix ns of the first and the last datagram.
	First, Last int64
	// Sent and Received are payload octets above the transport header, counted
	// at the IP layer; what is received is counted before a receive-buffer drop.
	Sent, Received               uint64
	SentPackets, ReceivedPackets uint64
	// Refused counts the ICMP port unreachables that came back to the connected
	// socket, with whatever peer.
	Refused uint32
	// Released is true when the socket was closed; the entry is gone after this.
	Released bool
	// Idle is true when the entry was dropped after a time without a datagram
	// (Config.PeerIdle): these are its last totals, and should the peer speak
	// again, First is new and the totals start from zero.
	Idle bool
	// Overflow is true for the catch-all entry of a socket whose peers did not
	// fit into the map: Dst is zero.
	Overflow bool
}

// ProcessKind says what happened to a process.
type ProcessKind uint8

const (
	ProcessExisting ProcessKind = iota + 1 // found when the probe started
	ProcessFork
	ProcessExec
	ProcessExit
)

// ProcessEvent is one event in the life of a process (not of its threads).
// Strings alias the ring buffer or the reader's scratch: copy to keep.
type ProcessEvent struct {
	Kind ProcessKind
	Time int64 // unix ns
	ProcessID
	Parent   ProcessID
	UID      uint32
	CgroupV2 uint64
	CgroupV1 uint64
	Comm     Comm
	// Exec counts the execve calls of the process and of those it descends from:
	// with the ProcessID it identifies the image that runs. 0 is a kernel thread.
	Exec     uint32
	Filename []byte // as given to execve, ProcessExec only
	Exe      []byte // name of the executable's dentry, ProcessExec and ProcessExisting
	Cmdline  []byte // NUL-separated arguments, truncated at 512 octets, ProcessExec and ProcessExisting
}

// CgroupKind says what happened to a cgroup.
type CgroupKind uint8

const (
	CgroupCreated CgroupKind = iota + 1
	CgroupRemoved
)

// CgroupEvent is the birth or death of a cgroup.
type CgroupEvent struct {
	Kind CgroupKind
	Time int64
	ID   uint64 // kernfs id, equal to the inode of its directory
	// Unified is true for the v2 hierarchy.
	Unified bool
	Path    []byte // from the root of the hierarchy; aliases the ring buffer
	// Truncated is true when Path may lack its end: 511 octets are kept.
	Truncated bool
}
