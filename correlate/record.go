package correlate

import (
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
)

// Kind is what an end of a connection is (tags `client_kind`, `server_kind`).
type Kind uint8

const (
	KindUnknown Kind = iota
	KindContainer
	KindPod
	KindProcess // a process outside any container
	KindHost    // this host, process not known
	KindService
	KindExternal
	KindMulticast
	KindOther
	KindTunnel // this host's end of a tunnel, whose inner flows have rows of their own
	KindRemote // on another host that runs a probe, which tells the connection as well
)

var kindNames = [...]string{"unknown", "container", "pod", "process", "host", "service", "external", "multicast", "other", "tunnel", "remote"}

// String returns the tag value.
func (k Kind) String() string { return kindNames[k] }

// Method says how the owner of an end was found, from none to strong; the
// fields `client_method` and `server_method`.
type Method uint8

const (
	MethodNone      Method = iota
	MethodAddress          // the address belongs to a container or to this host, no socket seen
	MethodListener         // inherited from the listener: nobody read or wrote yet
	MethodBootstrap        // found in a process's descriptors when the probe started
	MethodTuple            // the tuple matched exactly one socket
	MethodNAT              // the tuple matched one socket after address translation
	MethodCookie           // the kernel named the socket
)

var methodNames = [...]string{"none", "address", "listener", "bootstrap", "tuple", "nat", "cookie"}

// String returns the field value.
func (m Method) String() string { return methodNames[m] }

// InitiatorMethod says how it is known who opened a connection, from not at all
// to certain; the field `initiator_method`. Up to InitiatorListener it is a guess.
type InitiatorMethod uint8

const (
	InitiatorUnknown  InitiatorMethod = iota // nothing tells: the lower address, then port, stands as the client
	InitiatorPort                            // one port is below the ephemeral range: the server's
	InitiatorListener                        // somebody listens on one of the ports
	InitiatorSequence                        // the sequence numbers of a connection older than the probe tell
	InitiatorDatagram                        // sent the first datagram
	InitiatorSYN                             // sent the SYN, or called connect
)

var initiatorNames = [...]string{"unknown", "port", "listener", "sequence", "datagram", "syn"}

// String returns the field value.
func (m InitiatorMethod) String() string { return initiatorNames[m] }

// Attribution is the confidence in an owner (tag `attribution`).
type Attribution uint8

const (
	AttributionNone Attribution = iota
	AttributionInferred
	AttributionExact
)

var attributionNames = [...]string{"none", "inferred", "exact"}

// String returns the tag value.
func (a Attribution) String() string { return attributionNames[a] }

// Match is how an end's owner is known and how far that can be trusted.
type Match struct {
	Method     Method
	Confidence Attribution
}

// Reporter says which ends live on this host (tag `reporter`).
type Reporter uint8

const (
	ReporterNone Reporter = iota // forwarded traffic
	ReporterClient
	ReporterServer
	ReporterBoth
)

var reporterNames = [...]string{"none", "client", "server", "both"}

// String returns the tag value.
func (r Reporter) String() string { return reporterNames[r] }

// Process is who owned a socket. It is immutable once published and shared by
// all records that name it.
type Process struct {
	PID     uint32 // TGID in the initial PID namespace
	Start   int64  // unix ns
	Booted  uint64 // the same in ns of CLOCK_BOOTTIME, as the kernel keeps it
	Name    string // executable name: the stable name used as a tag
	Exe     string // path of the executable, may be empty
	Cmdline string // arguments joined by spaces, secrets redacted
	User    string // name, or the number where it has none
	UID     uint32
	PPID    uint32
	Unit    string // systemd unit, empty outside one
	Source  ProcessSource
}

// Endpoint is one end of a connection.
type Endpoint struct {
	Addr flows.Addr // as this end's own socket sees it; without a socket, as the other end or the wire shows it
	Port uint16
	// NATAddr and NATPort are this end's address as the other side sees it, where
	// NAT changed it; else zero.
	NATAddr flows.Addr
	NATPort uint16
	Local   bool // lives on this host
	Kind    Kind
	Name    string   // display name: tags `client`, `server`
	Process *Process // who used the socket last, as the image that connected it; nil when unknown
	// Creator is the process that opened the socket (accepted: that listened), where
	// it is not Process or ran another image then.
	Creator *Process
	// Current is Process after it has executed another image that goes on with the
	// connection; else nil.
	Current *Process
	Contain *Container // nil outside a container
	NetNS   uint32
	// Service is the Kubernetes service that a server was asked for as, "" where the
	// client did not ask for one, or does not live here.
	Service string
	// Node is the other host that an end elsewhere lives on, "" where it is not known.
	Node string
	// Zone is the availability zone that an end is in, "" where it is not known.
	Zone string
	// NetName is the name of NetNS, "" where it has none.
	NetName string
	// DNSName is what the other end's namespace had been told its address is called,
	// Geo what databases say of it: of ends elsewhere.
	DNSName string
	Geo     Geo
	// SeenNS is the namespace in which Addr means this end: its own, else that of
	// the other end's socket, else that of the devices it was seen at. 0: not known.
	SeenNS uint32
	Cookie uint64
	Match  Match
	// Evidence is how the owner became known.
	Evidence Evidence
	// Listened is true when a socket is known to listen on Port, or a connection
	// to it succeeded: the port is a service, not somebody's ephemeral one.
	Listened bool
}

// Traffic is one direction of a connection.
type Traffic struct {
	Payload     uint64 // octets as the sockets count them (or, without a socket, as packets carried them)
	WireOctets  uint64
	WirePackets uint64
	Retransmits uint64 // TCP segments
	ZeroWindows uint64 // of them that close their sender's window, as packets showed them
}

// FailCause says why a connection attempt failed.
type FailCause uint8

const (
	FailRefused FailCause = iota
	FailTimeout
	FailUnreachable
	FailLocal
	numFailCauses
)

var failNames = [...]string{"refused", "timeout", "unreachable", "local"}

// String returns the suffix of the `failed_…` fields.
func (c FailCause) String() string { return failNames[c] }

// Measures is what was measured of a connection, over an interval or its life.
type Measures struct {
	ToServer, ToClient Traffic
	// Opened counts established connections (or new datagram flows), Closed
	// ended ones; Aborted attempts the application gave up.
	Opened, Closed, Aborted uint32
	Failed                  [numFailCauses]uint32
	ResetByClient           uint32
	ResetByServer           uint32
	// Resets are those of them whose reason is known, by who did it, the client first.
	Resets             [2][NumResetReasons]uint32
	TimeoutEstablished uint32
	SYNRetransmits     uint32
	// AcceptQueueDrops counts the connections that a listener had no room for, in
	// records of its own: of their clients nothing is known.
	AcceptQueueDrops uint32
	// HandshakesIncomplete counts the connections that a client began and never
	// completed: of a listener, in records of its own, or as packets showed it.
	HandshakesIncomplete uint32
	// OutOfOrder counts TCP segments that came before their turn, at either end that
	// lives here; Duplicates those that an end here sent and the other had already.
	OutOfOrder, Duplicates uint32
	// RTT describes samples of the kernel's smoothed RTT, one per snapshot.
	RTT RTT
}

// RTT summarises samples, in ns; Jitter is the sum of the samples' mean deviations. Min
// and Max are valid iff Count > 0.
type RTT struct{ Sum, Count, Min, Max, Jitter uint64 }

// FailedTotal is the sum over all causes.
func (m *Measures) FailedTotal() uint32 {
	var n uint32
	for _, f := range m.Failed {
		n += f
	}
	return n
}

// CloseCause says how a connection ended (field `close_cause` of flow_log).
type CloseCause uint8

const (
	CloseNone CloseCause = iota // still open
	CloseNormal
	CloseResetByClient
	CloseResetByServer
	CloseTimeout
	CloseAborted // the application gave up before it was established
	CloseRefused
	CloseConnectTimeout
	CloseUnreachable
	CloseLocal
	CloseIdle // a datagram flow without traffic
	CloseHandshakeIncomplete
)

var closeNames = [...]string{"", "normal", "reset_by_client", "reset_by_server", "timeout", "aborted", "refused", "connect_timeout", "unreachable", "local", "idle", "handshake_incomplete"}

// String returns the field value.
func (c CloseCause) String() string { return closeNames[c] }

// Record is one connection (or datagram flow) over one interval: the flow, both
// owners, and how they were matched. The joiner reuses it: a consumer that
// keeps anything copies it (the pointers in it may be kept).
type Record struct {
	Proto          flows.Proto
	Start          int64 // unix ns, when the connection began
	End            int64 // unix ns, last activity, or when it ended
	Client, Server Endpoint
	Reporter       Reporter
	Attribution    Attribution // the weaker of the ends that live here
	// HasPayload and HasWire say which of Traffic's numbers were measured.
	HasPayload, HasWire bool
	// Redirected says that some of the payload was passed from socket to socket by a
	// BPF program: it was on no wire.
	Redirected bool
	// Delta is this interval, Total the life of the connection so far.
	Delta, Total Measures
	// Active is 1 for a connection that is open at the end of the interval.
	Active uint32
	// Connect is the time from SYN to established in ns, in the interval in which
	// it was established, where the client's socket is known; 0 otherwise. ConnectTotal
	// is the same in every record.
	Connect, ConnectTotal int64
	// SynAck is the time from SYN to SYN-ACK in ns as this host's packets show it, where
	// the client's socket is not known: in one record; SynAckTotal is the same in every
	// later record.
	SynAck, SynAckTotal int64
	MinRTT              int64 // ns, 0 unknown
	// Resolve is the wait for the DNS answer that named the server's address, ns, in
	// the first record of the connection, or attempt, that waited for it; ResolveTotal
	// is the same in every later record.
	Resolve, ResolveTotal int64
	// Accept is the time from established to accepted by the server's process in ns, in
	// the interval in which that became known; AcceptTotal is the same in every later
	// record.
	Accept, AcceptTotal int64
	Flags               flows.TCPFlags
	// Final is true in the last record of the connection.
	Final      bool
	EndReason  flows.EndReason
	CloseCause CloseCause
	// Reset says why the end that CloseCause names sent the RST, where that is known.
	Reset ResetReason
	// Initiator says how it is known which end is the client.
	Initiator InitiatorMethod
	// JoinedBy, PacketsBy, NATSource and Rivals are the evidence for the whole:
	// how the ends found each other, how packets found the sockets (MethodNone
	// when there were none, or no socket), how a translation is known, and which
	// other connections had the tuple.
	JoinedBy  JoinedBy
	PacketsBy Method
	NATSource NATSource
	Rivals    Rivals
	// Self is true for the probe's own connections: never written as rows.
	Self bool
	// Requests is what requests.Tracker adds from the payload; nil: nothing was seen.
	Requests *Requests
	// Score is what anomaly.Detector adds: where it puts, when the interval has ended,
	// how unusual it was of the edge that the record is of; nil: nobody judges that.
	Score *float64
}

// Histogram is the mergeable distribution type of latency rows.
type Histogram = dist.Histogram
