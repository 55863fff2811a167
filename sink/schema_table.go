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

func edgeTags() []Tag {
	tags := []Tag{
		tagHost,
		{TagReporter, "which end lives on this host: client, server, both, none (forwarded)"},
		{TagProto, "tcp, udp, icmp, …"},
		{TagServerPort, "the service's port; ephemeral: nobody listens there and it is no known service; other: past the 64 ports of a server; 0 without ports"},
		{TagAttribution, "exact, inferred, none: the weaker of the ends that live here"},
	}
	for end, who := range []string{"client (who opened the connection)", "server"} {
		tags = append(tags,
			Tag{TagName[end], "stable display name of the " + who},
			Tag{TagKind[end], "what it is: container, pod, process, host, service, external, multicast, other, unknown"},
			Tag{TagProcess[end], "executable name"},
			Tag{TagContainer[end], "container name"},
			Tag{TagNamespace[end], "Kubernetes namespace"},
			Tag{TagWorkload[end], "Kubernetes workload"},
			Tag{TagService[end], "Kubernetes service"},
			Tag{TagNode[end], "the other host, when it is known"})
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
		{Name: FieldScore, Type: Float, Semantics: Max, Meaning: "how unusual the interval is", Planned: true},
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
	return append(Connect.fields("SYN to established"),
		Field{Name: FieldRTTMin, Type: Float, Unit: Seconds, Semantics: Min, Meaning: "smallest RTT (the kernel's windowed minimum)"})
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
		delta(FieldTimeoutEstablished, Count, "established connections whose peer vanished"),
		delta(FieldSYNRetransmits, Count, "SYNs sent again"),
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

func logEndFields(end int) []Field {
	start := number(LogProcessStart[end], "start of that process")
	start.Unit = Nanos
	return []Field{
		label(LogAddress[end], "address as this end's own socket sees it"),
		number(LogPort[end], "port as this end's own socket sees it"),
		label(LogNATAddress[end], "address as the other side sees it, where NAT changed it"),
		number(LogNATPort[end], "port as the other side sees it, where NAT changed it"),
		number(LogPID[end], "process (TGID in the initial PID namespace)"),
		start,
		label(LogProcess[end], "executable name"),
		label(LogCmdline[end], "command line, secrets redacted"),
		label(LogUser[end], "user name, or its number"),
		number(LogPPID[end], "parent process"),
		label(LogContainerID[end], "container id"),
		label(LogContainer[end], "container name"),
		label(LogImage[end], "image reference"),
		number(LogNetNS[end], "inode of the network namespace"),
		number(LogCookie[end], "socket cookie"),
		label(LogMethod[end], "how the owner was found: none, address, listener, bootstrap, tuple, nat, cookie"),
		number(LogCreatorPID[end], "process that opened the socket, where another one uses it"),
		label(LogCreatorProcess[end], "executable name of that process"),
	}
}

func logFields() []Field {
	start := number(LogStart, "when the connection began, unix time")
	start.Unit = Nanos
	fs := append(logEndFields(ClientEnd), logEndFields(ServerEnd)...)
	fs = append(fs, start,
		Field{Name: LogDuration, Type: Float, Unit: Seconds, Semantics: Total, Meaning: "from start to end, or to this heartbeat"},
		number(LogTCPFlags, "OR of the TCP flags seen (IPFIX tcpControlBits)"),
		label(LogCloseCause, "how it ended: normal, reset_by_client, reset_by_server, timeout, aborted, refused, connect_timeout, unreachable, local, idle, handshake_incomplete"))
	for _, f := range append(append(flowFields(), logLatencyFields()...), errorFields()...) {
		if f.Planned {
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
		case Connect.Count, Connect.Sum, FieldRTTMin:
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
		{Name: InfoHooksAttached, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "hooks attached as wanted"},
		{Name: InfoHooksFallback, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "hooks replaced by a weaker one"},
		{Name: InfoHooksMissing, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "hooks this host does not have"},
	}
}
