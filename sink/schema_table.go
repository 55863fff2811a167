package sink

import "strings"

// The descriptions behind Measurements. Names stand in schema.go.

var tagHost = Tag{TagHost, "the host the probe runs on"}

func stageList() string {
	var names []string
	for _, s := range Stages() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

var serviceMeaning = [2]string{
	"nothing yet: nobody asks for a client",
	"Kubernetes service that the client asked DNS for (SERVICE.NAMESPACE.svc.…) when it connected; absent: none, or the client does not live here",
}

func edgeTags() []Tag {
	tags := []Tag{
		tagHost,
		{TagReporter, "which end lives on this host: client, server, both, none (forwarded)"},
		{TagProto, "tcp, udp, icmp, …"},
		{TagServerPort, "the service's port; ephemeral: nobody listens there and it is no known service; other: past the 64 ports of a server; 0 without ports"},
		{TagAttribution, "exact, inferred, none: the weaker of the ends that live here"},
		{TagCrosses, "zone: the ends are in two zones, none: in one (InfluxQL does not compare tags with each other); absent: the zone of an end is not known. An end that is folded into other keeps it"},
	}
	for end, who := range []string{"client (who opened the connection)", "server"} {
		tags = append(tags,
			Tag{TagName[end], "stable display name of the " + who},
			Tag{TagKind[end], "what it is: container, pod, process, host, service, external, multicast, other, unknown; remote: on another host of the fleet, which reports the connection as well (setting `fleet`); tunnel: this host's end of a tunnel, whose row repeats octets of the rows of the flows inside"},
			Tag{TagProcess[end], "executable name"},
			Tag{TagContainer[end], "container name; in a pod the one of its spec"},
			Tag{TagNamespace[end], "Kubernetes namespace"},
			Tag{TagWorkload[end], "Kubernetes workload with its kind (deployment/api), where the pod's labels tell it"},
			Tag{TagService[end], serviceMeaning[end]},
			Tag{TagNode[end], "the other host that this end lives on, where it is known (setting `nodes`); absent: this host, or not known"},
			Tag{TagZone[end], "availability zone that this end is in (settings `zone`, `zones`); absent: not known, or the end is folded into other"})
	}
	return tags
}

func delta(name string, u Unit, meaning string) Field {
	return Field{Name: name, Type: Int, Unit: u, Semantics: Delta, Meaning: meaning}
}

func flowFields() []Field {
	return []Field{
		delta(FieldToServerBytes, Bytes, "payload to the server as the sockets count it"),
		delta(FieldToClientBytes, Bytes, "payload to the client as the sockets count it"),
		delta(FieldToServerWireBytes, Bytes, "link-layer frames to the server, without FCS"),
		delta(FieldToClientWireBytes, Bytes, "link-layer frames to the client, without FCS"),
		delta(FieldToServerPackets, Packets, "packets on the wire to the server"),
		delta(FieldToClientPackets, Packets, "packets on the wire to the client"),
		delta(FieldAttempts, Count, "opened + failed + aborted"),
		delta(FieldOpened, Count, "connections established, or datagram flows begun"),
		delta(FieldClosed, Count, "established connections ended"),
		delta(FieldFailed, Count, "attempts failed"),
		{Name: FieldActive, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "connections open at the interval's end"},
		delta(FieldRetransmitsToServer, Count, "TCP segments sent again to the server"),
		delta(FieldRetransmitsToClient, Count, "TCP segments sent again to the client"),
		{Name: FieldRTTAvg, Type: Float, Unit: Seconds, Semantics: Mean, Meaning: "average of the kernel's smoothed RTT"},
		{Name: FieldRTTMax, Type: Float, Unit: Seconds, Semantics: Max, Meaning: "largest smoothed RTT"},
		{Name: FieldScore, Type: Float, Semantics: Max, Meaning: "how unusual the minute is up to the interval's end: of what is out of its usual range, the largest distance from the middle, in widths of the usual spread; 0: nothing, or nothing is known yet (docs/anomaly.md); absent: not judged"},
	}
}

func (d *Distribution) fields(what string) []Field {
	fs := []Field{
		delta(d.Count, Count, "how many: "+what),
		{Name: d.Sum, Type: Float, Unit: Seconds, Semantics: Delta, Meaning: "sum: " + what},
		{Name: d.Min, Type: Float, Unit: Seconds, Semantics: Min, Meaning: "smallest: " + what},
		{Name: d.P50, Type: Float, Unit: Seconds, Semantics: Quant, Meaning: "median: " + what},
		{Name: d.P90, Type: Float, Unit: Seconds, Semantics: Quant, Meaning: "90th percentile: " + what},
		{Name: d.P99, Type: Float, Unit: Seconds, Semantics: Quant, Meaning: "99th percentile: " + what},
		{Name: d.Max, Type: Float, Unit: Seconds, Semantics: Max, Meaning: "largest: " + what},
	}
	for _, b := range d.Buckets {
		f := delta(b.Name, Count, "cumulative, at most the bound in the name (s): "+what)
		f.OptIn = "histograms"
		fs = append(fs, f)
	}
	return fs
}

func latencyFields() []Field {
	fs := append(Resolve.fields("the wait for the DNS answer that named the server, before the connection, or attempt, that used it"), Connect.fields("SYN to established, at the client")...)
	fs = append(fs, SynAck.fields("SYN to SYN-ACK as packets on this host show it, where the client is not on it")...)
	fs = append(fs, Accept.fields("established to accepted by the server's process; where that was not seen, to its first read or write")...)
	return append(append(fs, requestLatencyFields()...),
		Field{Name: FieldRTTMin, Type: Float, Unit: Seconds, Semantics: Min, Meaning: "smallest RTT (the kernel's windowed minimum); a delayed acknowledgement is not in it"},
		Field{Name: FieldJitter, Type: Float, Unit: Seconds, Semantics: Mean, Meaning: "average of the kernel's mean deviation of the RTT; like rtt_avg_seconds it has delayed acknowledgements in it"})
}

func errorFields() []Field {
	return []Field{
		delta(FieldFailedBy[0], Count, "attempts refused (RST, ICMP port unreachable)"),
		delta(FieldFailedBy[1], Count, "attempts without an answer"),
		delta(FieldFailedBy[2], Count, "attempts with no route or host unreachable"),
		delta(FieldFailedBy[3], Count, "attempts this host refused itself (no port, no permission, policy)"),
		delta(FieldAborted, Count, "attempts the application gave up"),
		delta(FieldResetByClient, Count, "established connections reset by the client"),
		delta(FieldResetByServer, Count, "established connections reset by the server"),
		delta(FieldResetFor[ClientEnd][1], Count, "of reset_by_client: it closed without having read all that it was sent; known of clients that live here"),
		delta(FieldResetFor[ClientEnd][2], Count, "of reset_by_client: it wanted to (SO_LINGER with no time); known of clients that live here"),
		delta(FieldResetFor[ServerEnd][1], Count, "of reset_by_server: it closed without having read all that it was sent; known of servers that live here"),
		delta(FieldResetFor[ServerEnd][2], Count, "of reset_by_server: it wanted to (SO_LINGER with no time); known of servers that live here"),
		delta(FieldTimeoutEstablished, Count, "established connections whose peer vanished"),
		delta(FieldSYNRetransmits, Count, "SYNs sent again"),
		delta(FieldAcceptQueueDrops, Count, "times the server's listener had no room for a connection, at its SYN or at its last ACK (as ListenDrops of netstat: its accept queue or the queue of half-open ones was full, seldom memory or a policy); before Linux 6.11 with all else that it dropped, resets and repeated SYNs; the client is unknown"),
		delta(FieldHandshakes, Count, "connections that the client began and did not complete: it never answered the SYN-ACK, or with a reset; the client is unknown where the server's listener tells (after its SYN-ACK was sent again, and the kernel gave up)"),
		delta(FieldOutOfOrder, Count, "TCP segments that came before their turn, at the ends that live here"),
		delta(FieldDuplicates, Count, "TCP segments sent by the ends that live here that the other end had already (by its DSACK): sent again for nothing"),
		delta(FieldZeroWindowsClient, Count, "TCP segments with which the client said that it takes no more: it does not read what it was sent"),
		delta(FieldZeroWindowsServer, Count, "TCP segments with which the server said that it takes no more: it does not read what it was sent"),
		delta(FieldRequestErrors, Count, "requests that failed, by the application protocol where it is known"),
	}
}

func logTags() []Tag {
	return []Tag{
		tagHost,
		{TagReporter, "which end lives on this host: client, server, both, none (forwarded)"},
		{TagProto, "tcp, udp, icmp, …"},
		{TagName[ClientEnd], "stable display name of the client"},
		{TagName[ServerEnd], "stable display name of the server"},
		{TagEndReason, "IPFIX flowEndReason: idle, active (it lives: a heartbeat), end, forced, lack_of_resources"},
	}
}

func label(name, meaning string) Field {
	return Field{Name: name, Type: String, Semantics: Label, Meaning: meaning}
}

func number(name, meaning string) Field {
	return Field{Name: name, Type: Int, Semantics: Label, Meaning: meaning}
}

func nanos(name, meaning string) Field {
	f := number(name, meaning)
	f.Unit = Nanos
	return f
}

func logEndFields(end int) []Field {
	return []Field{
		label(LogAddress[end], "address as this end's own socket sees it"),
		number(LogPort[end], "port as this end's own socket sees it"),
		label(LogNATAddress[end], "address as the other side sees it, where NAT changed it"),
		number(LogNATPort[end], "port as the other side sees it, where NAT changed it"),
		number(LogPID[end], "process (TGID in the initial PID namespace)"),
		nanos(LogProcessStart[end], "start of that process"),
		label(LogProcess[end], "executable name"),
		label(LogCmdline[end], "command line, secrets redacted"),
		label(LogUser[end], "user name, or its number"),
		number(LogPPID[end], "parent process"),
		label(LogContainerID[end], "container id"),
		label(LogContainer[end], "container name; in a pod the one of its spec"),
		label(LogPod[end], "pod name"),
		label(LogImage[end], "image reference"),
		number(LogNetNS[end], "inode of the network namespace"),
		label(LogNetNSName[end], "its name, where it has one (ip netns)"),
		number(LogCookie[end], "socket cookie"),
		label(LogMethod[end], "how the owner was found: none, address, listener, bootstrap, tuple, nat, cookie"),
		number(LogCreatorPID[end], "process that opened the socket (of an accepted one: that listened), where another one uses it or the same one runs another program now"),
		nanos(LogCreatorStart[end], "start of that process"),
		label(LogCreatorProcess[end], "executable name of that process"),
		label(LogCreatorEvent[end], "what told who opened the socket: bootstrap, listener (it came out of a listening socket), create, connect, accept, io; absent: what told the owner, or, with another time, a client's connect or a server's listener (of a bootstrap: that, too)"),
		nanos(LogCreatorTime[end], "when that was learnt; of an accepted socket, when its listener was; absent: with the owner"),
		label(LogOwnerEvent[end], "what told the owner: bootstrap (in its descriptors at the probe's start), listener (nobody read or wrote yet), create, connect, accept, or the first data: read, sent, received, sendmsg, recvmsg, io"),
		nanos(LogOwnerTime[end], "when that was"),
		number(LogSwitches[end], "how often another process went on reading or writing the socket; absent: never"),
		nanos(LogAcceptTime[end], "when it was accepted, where that was seen"),
		number(LogAcceptPID[end], "who accepted it, where that is not the owner"),
		number(LogBaseline[end], "1: the socket is older than the probe; absent: it is not"),
		label(LogCgroup[end], "path of the owner's control group; absent: the root, or unknown"),
		number(LogCgroupVersion[end], "1: that path is of cgroup v1; absent: of v2"),
		label(LogProcessSource[end], "where the process's names come from: proc (no event told of it), socket (only what its socket says); absent: its fork and exec, or the list of processes at the probe's start"),
		label(LogCurrentProcess[end], "executable that the process runs by now, where it executed another one after it connected"),
		label(LogCurrentCmdline[end], "its command line, secrets redacted"),
	}
}

func logFields() []Field {
	fs := append(logEndFields(ClientEnd), logEndFields(ServerEnd)...)
	fs = append(fs, logRequestFields()...)
	fs = append(append(fs, logNameFields(ClientEnd)...), logNameFields(ServerEnd)...)
	fs = append(fs, nanos(LogStart, "when the connection began, unix time"),
		Field{Name: LogDuration, Type: Float, Unit: Seconds, Semantics: Total, Meaning: "from start to end, or to this heartbeat"},
		number(LogTCPFlags, "OR of the TCP flags seen (IPFIX tcpControlBits)"),
		label(LogInitiator, "how it is known which end is the client: syn, datagram (sent the first one), sequence (numbers of a connection older than the probe); guessed: listener, port, unknown (then the lower address and port stands as the client)"),
		label(LogCloseCause, "how it ended: normal, reset_by_client, reset_by_server, timeout, aborted, refused, connect_timeout, unreachable, local, idle, handshake_incomplete"),
		label(LogReset, "why the end that reset it did: unread_data (it closed over payload that nobody had read), linger (SO_LINGER with no time); absent: not known"),
		number(LogRedirected, "1: a BPF program passed payload from socket to socket (sockmap): the socket counted it, no wire carried it; absent: none"),
		label(LogJoinedBy, "how both ends, which live here, were found to be one connection: sequence (both know its initial sequence numbers), nat (after a translation), tuple"),
		label(LogPacketsBy, "how packets found the sockets: cookie, nat, tuple; absent: no packets, or no socket"),
		label(LogNATSource, "how the translation is known: conntrack (the packets' entry), sockets (both ends are here and call each other differently)"),
		number(LogRivals[0], "other connections that had this tuple: over before this one began; absent, here and below: none"),
		number(LogRivals[1], "… begun after this one"),
		number(LogRivals[2], "… in another network namespace"),
		number(LogRivals[3], "… another socket at the same time: a packet's cookie tells them apart"),
		number(LogRivals[4], "… at the same time with nothing to tell them apart: packets were given to neither"))
	for _, f := range append(append(flowFields(), logLatencyFields()...), errorFields()...) {
		if f.Planned || f.Name == FieldScore { // is of an edge
			continue
		}
		if f.Semantics == Delta {
			f.Semantics = Total
		}
		fs = append(fs, f)
	}
	return fs
}

// logLatencyFields are what a distribution of one value has to say.
func logLatencyFields() []Field {
	var fs []Field
	for _, f := range latencyFields() {
		switch f.Name {
		case Resolve.Count, Resolve.Sum, Connect.Count, Connect.Sum, SynAck.Count, SynAck.Sum, Accept.Count, Accept.Sum, FieldRTTMin, FieldJitter, Response.Count, Response.Sum:
			fs = append(fs, f)
		}
	}
	return fs
}

func infoFields() []Field {
	return []Field{
		label(InfoVersion, "version of Weir"),
		number(InfoSchema, "version of this schema"),
		label(InfoKernel, "kernel release"),
		{Name: InfoStarted, Type: Int, Unit: Nanos, Semantics: Gauge, Meaning: "when the probe was started, unix ns; where two probes write as one host it changes from row to row"},
		{Name: InfoHooksAttached, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "hooks attached as wanted"},
		{Name: InfoHooksFallback, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "hooks replaced by a weaker one"},
		{Name: InfoHooksMissing, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "hooks this host does not have"},
		label(InfoOutOfSight, "what of the host the probe's own namespaces hide; none: nothing"),
		label(InfoRestartNeeded, "settings that a reload has read and that take effect when weir starts again; none: nothing"),
	}
}
