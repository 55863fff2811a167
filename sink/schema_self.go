package sink

// selfInt, selfLoss and selfFloat build the descriptions of weir_self's fields.
func selfInt(n SelfInt, u Unit, s Semantics, meaning string) Field {
	return Field{Name: string(n), Type: Int, Unit: u, Semantics: s, Meaning: meaning}
}

func selfLoss(n SelfInt, u Unit, meaning string) Field {
	f := selfInt(n, u, Delta, meaning)
	f.Loss = true
	return f
}

func selfFloat(n SelfFloat, u Unit, s Semantics, meaning string) Field {
	return Field{Name: string(n), Type: Float, Unit: u, Semantics: s, Meaning: meaning}
}

func selfFields() []Field {
	fs := append(selfPathFields(), selfSinkFields()...)
	fs = append(append(fs, selfL7Fields()...), selfTLSFields()...)
	fs = append(fs, selfNameFields()...)
	fs = append(fs, selfUsageFields()...)
	fs = append(fs, selfDropFields()...)
	fs = append(fs, selfAnomalyFields()...)
	fs = append(fs, selfAlertFields()...)
	return append(fs,
		selfInt(SelfRSS, Bytes, Gauge, "process: resident memory"),
		selfFloat(SelfCPU, Seconds, Delta, "CPU time, user and system, of the process or the stage"),
		selfFloat(SelfLoop, Seconds, Max, "time one round of the stage took"),
		selfFloat(SelfUptime, Seconds, Gauge, "process: since its start"),
	)
}

// selfPathFields are those of the stages from the kernel to the join.
func selfPathFields() []Field {
	return []Field{
		selfInt(SelfSeen, Count, Delta, "what came into the stage: events, packets, records"),
		selfInt(SelfSockets, Count, Delta, "socket events"),
		selfInt(SelfProcesses, Count, Gauge, "processes known"),
		selfInt(SelfContainers, Count, Gauge, "containers known"),
		selfInt(SelfConnections, Count, Gauge, "connections in the table"),
		selfInt(SelfFlows, Count, Delta, "flow records"),
		selfInt(SelfPackets, Packets, Delta, "packets seen"),
		selfInt(SelfBytes, Bytes, Delta, "octets seen on the wire, written to disk, or sent"),
		selfInt(SelfRecords, Count, Delta, "connection records"),
		selfInt(SelfRows, Count, Delta, "rows encoded"),
		selfInt(SelfOwnRecords, Count, Delta, "records of the probe's own connections, left out"),
		selfLoss(SelfLost, Count, "lost in this stage, all reasons"),
		selfLoss(SelfLostMapFull, Count, "lost: a kernel map was full"),
		selfLoss(SelfLostRingFull, Count, "lost: the ring buffer was full"),
		selfLoss(SelfLostTableFull, Count, "lost: a table in the probe was full"),
		selfLoss(SelfLostQueueFull, Count, "lost: a queue in the probe was full"),
		selfLoss(SelfLostDecode, Count, "lost: malformed or not understood"),
		selfLoss(SelfLostDropped, Count, "lost: dropped by the kernel before it was read"),
		selfInt(SelfNonFlowBytes, Bytes, Delta, "flows: octets that belong to no flow (ARP, …), unknown fragments too"),
		selfInt(SelfFragments, Count, Delta, "fragments that belong to no known flow"),
		selfInt(SelfFragmentBytes, Bytes, Delta, "flows: octets of such fragments, part of non_flow_bytes"),
		selfInt(SelfFlowBytes, Bytes, Delta, "flows: octets counted to flows; bytes = flow_bytes + duplicate_bytes + non_flow_bytes + lost_bytes"),
		selfInt(SelfDuplicateBytes, Bytes, Delta, "flows: octets of packets that another device or hook counted to their flow"),
		selfInt(SelfDeviceBytes, Bytes, Delta, "flows: bytes as the devices' own counters have them: the headers of a super-packet once"),
		selfInt(SelfDevicePackets, Packets, Delta, "flows: packets as the devices' own counters have them: a super-packet is one"),
		selfInt(SelfDevices, Count, Gauge, "flows: devices metered"),
		selfLoss(SelfAttachGaps, Count, "flows: devices that appeared; some packets may pass before they are metered"),
		selfLoss(SelfAttachGapBytes, Bytes, "flows: octets new devices had carried before they were metered, by their own counters"),
		selfLoss(SelfAttachGapPacket, Packets, "flows: packets new devices had carried before they were metered"),
		selfInt(SelfTakeovers, Count, Delta, "flows: directions of flows that another device began to count"),
		selfInt(SelfWireBytes, Bytes, Delta, "octets on the wire, of all records (join) or rows (sink)"),
		selfInt(SelfRepeatedBytes, Bytes, Delta, "join: octets of the same packets under another tuple (NAT); flow_bytes = wire_bytes + repeated_bytes + what waits for its socket"),
		selfInt(SelfOwnBytes, Bytes, Delta, "sink: octets on the wire of own_records"),
		selfInt(SelfMapEntries, Count, Gauge, "entries of the fullest kernel map"),
		selfInt(SelfMapCapacity, Count, Gauge, "capacity of that map"),
		selfInt(SelfHooksAttached, Count, Gauge, "hooks attached"),
		selfInt(SelfHooksMissing, Count, Gauge, "hooks missing"),
		selfInt(SelfMatchedCookie, Count, Delta, "flows matched by socket cookie"),
		selfInt(SelfMatchedTuple, Count, Delta, "flows matched by tuple"),
		selfInt(SelfMatchedNAT, Count, Delta, "flows matched after address translation"),
		selfInt(SelfUnmatched, Count, Delta, "flows without a socket"),
		selfLoss(SelfAmbiguous, Count, "flows with several possible owners, reported without one"),
		selfInt(SelfPaired, Count, Delta, "connections with both ends here"),
		selfLoss(SelfOverflow, Count, "flows and sockets merged because a table was full"),
		selfInt(SelfLocalBytes, Bytes, Delta, "payload with a local socket"),
		selfInt(SelfAttributedBytes, Bytes, Delta, "payload with a local socket whose owner is known"),
		selfInt(SelfPacketOnlyBytes, Bytes, Delta, "payload seen on packets only"),
		selfFloat(SelfCoverage, Ratio, Mean, "attributed bytes / bytes with a local socket; absent without traffic"),
		selfInt(SelfMisses, Count, Delta, "look-ups that found nothing"),
		selfLoss(SelfErrors, Count, "errors"),
		selfLoss(SelfEvicted, Count, "entries given up to stay within a limit"),
		selfInt(SelfReused, Count, Delta, "flows: ports used again by another connection or socket"),
		selfLoss(SelfReuseMerged, Count, "flows: packets of those that were counted into the flow before: the ring was full, or sockets take turns"),
		selfLoss(SelfLostClosed, Count, "kernel: ends of connections lost, the ring was full"),
		selfLoss(SelfLostListener, Count, "kernel: begins or ends of listeners lost, and of connections that wait to be accepted"),
		selfLoss(SelfLostReleased, Count, "kernel: ends of datagram sockets lost"),
		selfLoss(SelfLostProcess, Count, "kernel: process events lost"),
		selfLoss(SelfLostCgroup, Count, "kernel: cgroup events lost"),
		selfLoss(SelfLostNAT, Count, "kernel: translations lost"),
		selfInt(SelfNATs, Count, Delta, "address translations told, by packets (flows), by what sockets send (kernel), by conntrack"),
		selfInt(SelfDumps, Count, Delta, "conntrack: reads of a whole table, at the start and after a loss"),
		selfInt(SelfNamespaces, Count, Gauge, "conntrack: network namespaces watched; 0 means nat=unavailable"),
		selfLoss(SelfNoStorage, Count, "kernel: sockets without storage, not followed"),
		selfLoss(SelfNoContext, Count, "kernel: connections that closed without storage, not reported"),
		selfLoss(SelfOverflowPackets, Packets, "packets counted in a catch-all entry"),
		selfLoss(SelfOverflowBytes, Bytes, "octets counted in a catch-all entry"),
		selfLoss(SelfLostPackets, Packets, "packets not counted at all"),
		selfLoss(SelfLostBytes, Bytes, "octets not counted at all"),
		selfLoss(SelfUnparsed, Packets, "packets whose headers could not be read"),
		selfLoss(SelfOwnerBusy, Count, "kernel: owner updates skipped"),
		selfLoss(SelfProgramMisses, Count, "kernel: runs of programs the kernel skipped"),
		selfLoss(SelfTruncated, Count, "reads of kernel state that ended early, and paths of it that lack their end"),
		selfInt(SelfOtherNetwork, Count, Delta, "addresses of a container seen in a network namespace where they are somebody else's"),
		selfInt(SelfAdopted, Count, Delta, "flows whose socket came after them"),
		selfLoss(SelfBuried, Count, "sockets whose close event was lost"),
		selfInt(SelfLate, Count, Delta, "flows of packets that came after their connection was forgotten: TIME_WAIT"),
		selfLoss(SelfNATOverflow, Count, "translations not remembered: the table was full"),
		selfInt(SelfLookups, Count, Delta, "look-ups"),
		selfInt(SelfResolved, Count, Delta, "look-ups answered later, from /proc or the runtime"),
	}
}

// selfSinkFields are those of the stages from rows to the database.
func selfSinkFields() []Field {
	return []Field{
		selfInt(SelfSeries, Count, Gauge, "series of flow held against the budget"),
		selfInt(SelfLogSeries, Count, Gauge, "series of flow_log held against the budget"),
		selfInt(SelfSeriesAdmitted, Count, Delta, "series admitted"),
		selfLoss(SelfSeriesRefused, Count, "records whose own series was refused: written in a coarser one"),
		selfInt(SelfSeriesExpired, Count, Delta, "series given up after long disuse"),
		selfLoss(SelfFoldedProcess, Count, "records written without process tags"),
		selfLoss(SelfFoldedContainer, Count, "records folded into the workload or Compose service"),
		selfLoss(SelfFoldedOneEnd, Count, "records with one end folded into other"),
		selfLoss(SelfFoldedOther, Count, "records with both ends folded into other"),
		selfInt(SelfPortsEphemeral, Count, Delta, "records written with server_port ephemeral"),
		selfLoss(SelfPortsOther, Count, "records whose server port was past the limit of its server"),
		selfInt(SelfPortsScanned, Count, Delta, "ports taken back because a scan touched them"),
		selfLoss(SelfScoresLost, Count, "scores that a row of flow lacks because too many edges had one in the interval"),
		selfInt(SelfLogRows, Count, Delta, "rows of flow_log"),
		selfLoss(SelfLogSuppressed, Count, "rows of flow_log not written to keep its rate"),
		selfLoss(SelfLogFolded, Count, "rows of flow_log with folded tags"),
		selfLoss(SelfValuesCleaned, Count, "strings with replaced characters or cut to length"),
		selfLoss(SelfValuesClamped, Count, "values clamped to the range of int64"),
		selfLoss(SelfFieldsSkipped, Count, "fields not written: NaN or Inf"),
		selfInt(SelfQueueRows, Count, Gauge, "rows waiting for delivery"),
		selfInt(SelfQueueBytes, Bytes, Gauge, "octets waiting for delivery"),
		selfFloat(SelfQueueAge, Seconds, Gauge, "age of the oldest row waiting"),
		selfInt(SelfSpoolBytes, Bytes, Gauge, "size of the journal on disk"),
		selfInt(SelfSegments, Count, Gauge, "segments of the journal"),
		selfLoss(SelfCorrupt, Count, "damaged journal records skipped"),
		selfLoss(SelfDroppedRows, Count, "rows given up before they were delivered"),
		selfLoss(SelfRejected, Count, "rows the database refused for good"),
		selfLoss(SelfRejectedType, Count, "refused: field type conflict"),
		selfLoss(SelfRejectedAge, Count, "refused: beyond the retention"),
		selfLoss(SelfRejectedParse, Count, "refused: could not be parsed"),
		selfLoss(SelfRejectedOther, Count, "refused: another reason"),
		selfInt(SelfRequests, Count, Delta, "requests sent"),
		selfInt(SelfRetries, Count, Delta, "requests sent again"),
		selfInt(SelfThrottled, Count, Delta, "requests the server asked to wait with"),
		selfLoss(SelfConfigErrors, Count, "requests refused until somebody changes something"),
		selfLoss(SelfServerFull, Count, "of these: because the server's disk was full"),
		selfLoss(SelfTornBytes, Bytes, "journal: octets of a write that a crash interrupted"),
		selfInt(SelfMemoryRows, Count, Gauge, "journal: rows waiting in memory"),
		selfInt(SelfMemoryBytes, Bytes, Gauge, "journal: octets waiting in memory"),
		selfLoss(SelfDiskErrors, Count, "journal: writes that failed"),
		selfLoss(SelfRefusedRows, Count, "journal: rows too long to keep"),
	}
}
