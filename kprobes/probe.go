package kprobes

// State is where a probe ended up.
type State string

// The states of a probe in Status.
const (
	StateAttached State = "attached"
	StateFallback State = "fallback" // not to be had here, but another probe stands in
	StateMissing  State = "missing"  // this kernel does not have the hook
	StateFailed   State = "failed"   // it should work, and was refused
	StateOff      State = "off"      // left out on purpose: configuration, or a better probe is attached
)

// Status says what became of one probe.
type Status struct {
	Probe    string `json:"probe"`
	State    State  `json:"state"`
	Required bool   `json:"required"`
	Reason   string `json:"reason,omitempty"` // why it is not attached, and what to do; empty when attached
	Loses    string `json:"loses"`            // what is lost while neither it nor its fallback is attached
}

// object names the compiled object a program is in.
type object uint8

const (
	objSocket object = iota
	objProcess
	objPayload
	objDrop
	objTLS
	objects
)

// besideSockets says whether the object's programs look at what the socket path knows
// of sockets, and have constants of their own.
func (o object) besideSockets() bool { return o == objPayload || o == objDrop || o == objTLS }

// attachKind says how a program is attached.
type attachKind uint8

const (
	kindTracing     attachKind = iota // tp_btf
	kindCgroup                        // at the root of the v2 hierarchy, beside others
	kindStorageIter                   // iterator over the sk_storage map
	kindIter                          // iterator over tasks or their files
)

// probe is one hook. Every probe is tried by loading it, never by the kernel's
// version, and every one but the required is optional by itself.
type probe struct {
	program  string // name in the object, and of the probe
	object   object
	kind     attachKind
	hook     string // what it attaches to, for people
	needs    string
	fallback string // program that stands in for it
	standsIn string // this one is loaded only when that program is not attached
	behind   string // where that program is attached, it goes on to this one
	hot      bool   // runs at every send or receive: Config.NoIOHooks leaves it out
	required bool
	// conntrack marks a program that reads conntrack entries: bpf.ConntrackTypes.
	conntrack bool
	payload   bool // Config.Payload asks for it
	tls       bool // Config.TLS asks for it
	loses     string
}

// probes is all there is. Order matters: what stands in comes after what it
// stands in for, and what is behind another after that.
var probes = []probe{
	{program: "inet_sock_set_state", kind: kindTracing, hook: "tp_btf/inet_sock_set_state", needs: "Linux ≥ 5.12 with BTF", required: true,
		loses: "every TCP connection"},
	{program: "tcp_retransmit_synack", kind: kindTracing, hook: "tp_btf/tcp_retransmit_synack", needs: "Linux ≥ 5.12 with BTF",
		loses: "handshakes that clients begin and do not complete"},
	{program: "tcp_rcv_space_adjust", kind: kindTracing, hook: "tp_btf/tcp_rcv_space_adjust", needs: "Linux ≥ 5.12 with BTF",
		loses: "the process that reads an accepted TCP connection"},
	{program: "sock_send_length", kind: kindTracing, hook: "tp_btf/sock_send_length", needs: "Linux ≥ 6.3", fallback: "sendmsg4", hot: true,
		loses: "the process that sends, where it did not open the socket; what a sockmap redirects"},
	{program: "sock_recv_length", kind: kindTracing, hook: "tp_btf/sock_recv_length", needs: "Linux ≥ 6.3", fallback: "recvmsg4", hot: true,
		loses: "the process that receives datagrams, where it did not open the socket; what a sockmap redirects"},
	{program: "sock_create", kind: kindCgroup, hook: "cgroup/sock_create", needs: "Linux ≥ 5.8 and cgroup v2",
		loses: "the creator of UDP, ICMP and raw sockets"},
	{program: "sock_release", kind: kindCgroup, hook: "cgroup/sock_release", needs: "Linux ≥ 5.9 and cgroup v2",
		loses: "the end of a datagram socket: its peers end by idling"},
	{program: "getpeername4", kind: kindCgroup, hook: "cgroup/getpeername4", needs: "Linux ≥ 5.8 and cgroup v2", fallback: "tcp_rcv_space_adjust",
		loses: "who accepted an IPv4 connection, before its first data"},
	{program: "getpeername6", kind: kindCgroup, hook: "cgroup/getpeername6", needs: "Linux ≥ 5.8 and cgroup v2", fallback: "tcp_rcv_space_adjust",
		loses: "who accepted an IPv6 connection, before its first data"},
	{program: "post_bind4", kind: kindCgroup, hook: "cgroup/post_bind4", needs: "Linux ≥ 5.8 and cgroup v2",
		loses: "that an IPv4 tunnel's packets are the kernel's"},
	{program: "post_bind6", kind: kindCgroup, hook: "cgroup/post_bind6", needs: "Linux ≥ 5.8 and cgroup v2",
		loses: "that an IPv6 tunnel's packets are the kernel's"},
	{program: "payload_egress", object: objPayload, kind: kindCgroup, hook: "cgroup_skb/egress payload", needs: "Linux ≥ 5.8 and cgroup v2", payload: true,
		loses: "requests: their names, answers and response times; names by DNS"},
	{program: "payload_ingress", object: objPayload, kind: kindCgroup, hook: "cgroup_skb/ingress payload", needs: "Linux ≥ 5.8 and cgroup v2", payload: true,
		loses: "requests: their names, answers and response times; names by DNS"},
	{program: "peer_egress_nat", behind: "payload_egress", kind: kindCgroup, hook: "cgroup_skb/egress with conntrack", needs: "Linux ≥ 6.2 and nf_conntrack", fallback: "peer_egress", conntrack: true,
		loses: "translations in the namespaces of sockets: conntrack's own events tell them later"},
	{program: "peer_egress", behind: "payload_egress", kind: kindCgroup, hook: "cgroup_skb/egress", needs: "Linux ≥ 5.8 and cgroup v2", standsIn: "peer_egress_nat",
		loses: "sent UDP and ICMP"},
	{program: "peer_ingress", behind: "payload_ingress", kind: kindCgroup, hook: "cgroup_skb/ingress", needs: "Linux ≥ 5.8 and cgroup v2",
		loses: "received UDP and ICMP"},
	{program: "sendmsg4", kind: kindCgroup, hook: "cgroup/sendmsg4", needs: "Linux ≥ 4.18 and cgroup v2", standsIn: "sock_send_length",
		loses: "senders on unconnected IPv4 sockets"},
	{program: "sendmsg6", kind: kindCgroup, hook: "cgroup/sendmsg6", needs: "Linux ≥ 4.18 and cgroup v2", standsIn: "sock_send_length",
		loses: "senders on unconnected IPv6 sockets"},
	{program: "connect4", kind: kindCgroup, hook: "cgroup/connect4", needs: "Linux ≥ 4.17 and cgroup v2", standsIn: "sock_send_length",
		loses: "who connected an IPv4 datagram socket"},
	{program: "connect6", kind: kindCgroup, hook: "cgroup/connect6", needs: "Linux ≥ 4.17 and cgroup v2", standsIn: "sock_send_length",
		loses: "who connected an IPv6 datagram socket"},
	{program: "recvmsg4", kind: kindCgroup, hook: "cgroup/recvmsg4", needs: "Linux ≥ 5.2 and cgroup v2", standsIn: "sock_recv_length",
		loses: "receivers on IPv4 datagram sockets"},
	{program: "recvmsg6", kind: kindCgroup, hook: "cgroup/recvmsg6", needs: "Linux ≥ 5.2 and cgroup v2", standsIn: "sock_recv_length",
		loses: "receivers on IPv6 datagram sockets"},
	{program: "attempt4", kind: kindCgroup, hook: "cgroup/connect4 attempts", needs: "Linux ≥ 5.8 and cgroup v2",
		loses: "IPv4 connects that fail before a SYN"},
	{program: "attempt6", kind: kindCgroup, hook: "cgroup/connect6 attempts", needs: "Linux ≥ 5.8 and cgroup v2",
		loses: "IPv6 connects that fail before a SYN"},
	{program: "inet_sk_error_report", kind: kindTracing, hook: "tp_btf/inet_sk_error_report", needs: "Linux ≥ 5.14 with BTF",
		loses: "datagrams that a port unreachable came back for"},
	{program: "snapshot_tcp", kind: kindStorageIter, hook: "iter/bpf_sk_storage_map", needs: "Linux ≥ 5.12 with BTF", fallback: "snapshot_files",
		loses: "open connections before they close"},
	{program: "snapshot_files", kind: kindIter, hook: "iter/task_file", needs: "Linux ≥ 5.12 with BTF", standsIn: "snapshot_tcp",
		loses: "open connections before they close"},
	{program: "datagram_owners", kind: kindStorageIter, hook: "iter/bpf_sk_storage_map", needs: "Linux ≥ 5.12 with BTF", fallback: "datagram_files",
		loses: "owners of open datagram sockets"},
	{program: "datagram_files", kind: kindIter, hook: "iter/task_file", needs: "Linux ≥ 5.12 with BTF", standsIn: "datagram_owners", fallback: "sock_release",
		loses: "owners of open datagram sockets"},
	{program: "find_listeners", kind: kindIter, hook: "iter/task_file", needs: "Linux ≥ 5.12 with BTF",
		loses: "which of several holders of an older socket serves it"},
	{program: "bootstrap_sockets", kind: kindIter, hook: "iter/task_file", needs: "Linux ≥ 5.12 with BTF",
		loses: "owners of sockets older than the probe, until they are used"},
	{program: "kfree_skb_rx", object: objDrop, kind: kindTracing, hook: "tp_btf/kfree_skb with the receiver", needs: "Linux ≥ 6.11 with BTF", fallback: "kfree_skb",
		loses: "whose socket a dropped packet was for; accept_queue_drops has resets and repeated SYNs in it"},
	{program: "kfree_skb", object: objDrop, kind: kindTracing, hook: "tp_btf/kfree_skb", needs: "Linux ≥ 5.17 with BTF", standsIn: "kfree_skb_rx",
		loses: "packets that the kernel drops, and why"},
	{program: "tls_received", object: objTLS, kind: kindTracing, hook: "tp_btf/tcp_rcv_space_adjust tls", needs: "Linux ≥ 5.15 with BTF", tls: true,
		loses: "requests inside TLS: which socket a TLS connection has"},
	{program: "tls_sent", object: objTLS, kind: kindTracing, hook: "tp_btf/sock_send_length tls", needs: "Linux ≥ 6.3", fallback: "tls_received", tls: true,
		loses: "requests inside TLS before the first read of a connection older than the probe"},
	{program: "sched_process_exec", object: objProcess, kind: kindTracing, hook: "tp_btf/sched_process_exec", needs: "Linux ≥ 5.8 with BTF",
		loses: "names and command lines of short-lived processes"},
	{program: "sched_process_fork", object: objProcess, kind: kindTracing, hook: "tp_btf/sched_process_fork", needs: "Linux ≥ 5.8 with BTF",
		loses: "parents of processes that never exec"},
	{program: "sched_process_exit", object: objProcess, kind: kindTracing, hook: "tp_btf/sched_process_exit", needs: "Linux ≥ 5.8 with BTF",
		loses: "the end of processes"},
	{program: "cgroup_mkdir", object: objProcess, kind: kindTracing, hook: "tp_btf/cgroup_mkdir", needs: "Linux ≥ 5.8 with BTF",
		loses: "containers that live shorter than a walk of the cgroup tree"},
	{program: "cgroup_rmdir", object: objProcess, kind: kindTracing, hook: "tp_btf/cgroup_rmdir", needs: "Linux ≥ 5.8 with BTF",
		loses: "the end of cgroups"},
	{program: "existing_sleepable", object: objProcess, kind: kindIter, hook: "iter.s/task", needs: "Linux ≥ 5.18 with BTF", fallback: "existing",
		loses: "command lines of processes older than the probe"},
	{program: "existing", object: objProcess, kind: kindIter, hook: "iter/task", needs: "Linux ≥ 5.8 with BTF", standsIn: "existing_sleepable",
		loses: "processes older than the probe"},
}
