package sink

// This file is the only place that names a measurement, a tag or a field. A
// name or a type that has landed does not change without a line in
// CHANGELOG.md and a new SchemaVersion.

// SchemaVersion is the field `schema` of weir_info.
const SchemaVersion = 1

// Measurements.
const (
	MeasurementFlow        = "flow"
	MeasurementFlowLatency = "flow_latency"
	MeasurementFlowError   = "flow_error"
	MeasurementL7          = "l7"
	MeasurementFlowLog     = "flow_log"
	MeasurementSelf        = "weir_self"
	MeasurementInfo        = "weir_info"
)

// Tags. End tags are indexed by ClientEnd and ServerEnd.
const (
	TagHost        = "host"
	TagReporter    = "reporter"
	TagProto       = "proto"
	TagServerPort  = "server_port"
	TagAttribution = "attribution"
	TagCrosses     = "crosses"
	TagEndReason   = "end_reason"
	TagStage       = "stage"
)

// ClientEnd and ServerEnd index the names that exist once per end.
const (
	ClientEnd = 0
	ServerEnd = 1
)

// Tags of each end.
var (
	TagName      = [2]string{"client", "server"}
	TagKind      = perEnd("kind")
	TagProcess   = perEnd("process")
	TagContainer = perEnd("container")
	TagNamespace = perEnd("namespace")
	TagWorkload  = perEnd("workload")
	TagService   = perEnd("service")
	TagNode      = perEnd("node")
	TagZone      = perEnd("zone")
)

// Values of tags that are the schema's own.
const (
	PortEphemeral = "ephemeral" // a server port nobody listens on and that is no known service
	Other         = "other"     // what the series budget or the port limit folded
	CrossesNone   = "none"      // an edge within one zone
	CrossesZone   = "zone"      // an edge between two
)

// Fields of flow.
const (
	FieldToServerBytes       = "to_server_bytes"
	FieldToClientBytes       = "to_client_bytes"
	FieldToServerWireBytes   = "to_server_wire_bytes"
	FieldToClientWireBytes   = "to_client_wire_bytes"
	FieldToServerPackets     = "to_server_packets"
	FieldToClientPackets     = "to_client_packets"
	FieldAttempts            = "attempts"
	FieldOpened              = "opened"
	FieldClosed              = "closed"
	FieldFailed              = "failed"
	FieldActive              = "active"
	FieldRetransmitsToServer = "retransmits_to_server"
	FieldRetransmitsToClient = "retransmits_to_client"
	FieldRTTAvg              = "rtt_avg_seconds"
	FieldRTTMax              = "rtt_max_seconds"
	FieldScore               = "score"
)

// Fields of flow_latency, beside the distribution Connect.
const (
	FieldRTTMin = "rtt_min_seconds"
	FieldJitter = "jitter_seconds"
)

// Connect is the distribution of the time from SYN to established, SynAck of that from
// SYN to SYN-ACK, Accept of that from established to accepted by the process.
var (
	Connect = distribution("connect")
	SynAck  = distribution("syn_ack")
	Accept  = distribution("accept")
)

// Fields of flow_error. FieldFailedBy is indexed by correlate.FailCause.
var FieldFailedBy = [4]string{"failed_refused", "failed_timeout", "failed_unreachable", "failed_local"}

// FieldResetFor, of flow_error, is indexed by who reset a connection (ClientEnd, ServerEnd)
// and by correlate.ResetReason, of which the first has no field.
var FieldResetFor = [2][3]string{
	{"", "reset_by_client_unread_data", "reset_by_client_linger"},
	{"", "reset_by_server_unread_data", "reset_by_server_linger"},
}

// More fields of flow_error.
const (
	FieldAborted            = "aborted"
	FieldResetByClient      = "reset_by_client"
	FieldResetByServer      = "reset_by_server"
	FieldTimeoutEstablished = "timeout_established"
	FieldSYNRetransmits     = "syn_retransmits"
	FieldAcceptQueueDrops   = "accept_queue_drops"
	FieldHandshakes         = "handshakes_incomplete"
	FieldOutOfOrder         = "out_of_order"
	FieldDuplicates         = "duplicates"
	FieldZeroWindowsClient  = "zero_windows_by_client"
	FieldZeroWindowsServer  = "zero_windows_by_server"
	FieldRequestErrors      = "request_errors"
)

// Fields of flow_log, of each end.
var (
	LogAddress        = perEnd("address")
	LogPort           = perEnd("port")
	LogNATAddress     = perEnd("nat_address")
	LogNATPort        = perEnd("nat_port")
	LogPID            = perEnd("pid")
	LogProcessStart   = perEnd("start")
	LogProcess        = perEnd("process")
	LogCmdline        = perEnd("cmdline")
	LogUser           = perEnd("user")
	LogPPID           = perEnd("ppid")
	LogContainerID    = perEnd("container_id")
	LogContainer      = perEnd("container")
	LogImage          = perEnd("image")
	LogPod            = perEnd("pod")
	LogNetNS          = perEnd("netns")
	LogNetNSName      = perEnd("netns_name")
	LogCookie         = perEnd("cookie")
	LogMethod         = perEnd("method")
	LogCreatorPID     = perEnd("creator_pid")
	LogCreatorStart   = perEnd("creator_start")
	LogCreatorProcess = perEnd("creator_process")
	LogCreatorEvent   = perEnd("creator_event")
	LogCreatorTime    = perEnd("creator_time")
	LogCurrentProcess = perEnd("current_process")
	LogCurrentCmdline = perEnd("current_cmdline")
	LogOwnerEvent     = perEnd("owner_event")
	LogOwnerTime      = perEnd("owner_time")
	LogSwitches       = perEnd("switches")
	LogAcceptTime     = perEnd("accept_time")
	LogAcceptPID      = perEnd("accept_pid")
	LogBaseline       = perEnd("baseline")
	LogCgroup         = perEnd("cgroup")
	LogCgroupVersion  = perEnd("cgroup_version")
	LogProcessSource  = perEnd("process_source")
)

// Fields of flow_log, of the connection.
const (
	LogStart      = "start"
	LogDuration   = "duration_seconds"
	LogTCPFlags   = "tcp_flags"
	LogInitiator  = "initiator_method"
	LogCloseCause = "close_cause"
	LogReset      = "reset_reason"
	LogRedirected = "redirected"
	LogL7         = "l7"
	LogJoinedBy   = "joined_by"
	LogPacketsBy  = "packets_by"
	LogNATSource  = "nat_source"
)

// LogRivals is indexed by correlate.RivalCause.
var LogRivals = [5]string{"rivals_earlier", "rivals_later", "rivals_netns", "rivals_socket", "rivals_ambiguous"}

// Fields of weir_info.
const (
	InfoVersion       = "version"
	InfoSchema        = "schema"
	InfoKernel        = "kernel"
	InfoStarted       = "started"
	InfoHooksAttached = "hooks_attached"
	InfoHooksFallback = "hooks_fallback"
	InfoHooksMissing  = "hooks_missing"
	InfoOutOfSight    = "out_of_sight"
	InfoRestartNeeded = "restart_needed"
)

// Stage is a value of the tag `stage` of weir_self.
type Stage string

// The stages, in the order of the data path.
const (
	StageKernel    Stage = "kernel"    // hooks, maps, ring buffer
	StageFlows     Stage = "flows"     // the packet path
	StageConntrack Stage = "conntrack" // translations told by netlink
	StageL7        Stage = "l7"        // payload to requests
	StageJoin      Stage = "join"      // sockets and flows to connections
	StageEnrich    Stage = "enrich"    // processes, containers
	StageSink      Stage = "sink"      // rows and the series budget
	StageJournal   Stage = "journal"   // the log on disk
	StageDelivery  Stage = "delivery"  // to the database
	StageProcess   Stage = "process"   // the probe's own process
)

// Stages returns every stage in the order of the data path.
func Stages() []Stage {
	return []Stage{StageKernel, StageFlows, StageConntrack, StageTLS, StageL7, StageJoin, StageEnrich, StageNames, StageResources, StageAnomaly, StageEvents, StageAlerts, StageSink, StageJournal, StageDelivery, StageProcess}
}

// SelfInt and SelfFloat are the fields of weir_self. The Go type of a name is
// the type of its field, so that no two callers can disagree.
type (
	SelfInt   string
	SelfFloat string
)

// Fields of weir_self. One name serves every stage it means the same in. Those
// that count are deltas per interval.
const (
	SelfSeen            SelfInt = "seen"
	SelfSockets         SelfInt = "sockets"
	SelfProcesses       SelfInt = "processes"
	SelfContainers      SelfInt = "containers"
	SelfConnections     SelfInt = "connections"
	SelfFlows           SelfInt = "flows"
	SelfPackets         SelfInt = "packets"
	SelfBytes           SelfInt = "bytes"
	SelfRecords         SelfInt = "records"
	SelfRows            SelfInt = "rows"
	SelfOwnRecords      SelfInt = "own_records"
	SelfLost            SelfInt = "lost"
	SelfLostMapFull     SelfInt = "lost_map_full"
	SelfLostRingFull    SelfInt = "lost_ring_full"
	SelfLostTableFull   SelfInt = "lost_table_full"
	SelfLostQueueFull   SelfInt = "lost_queue_full"
	SelfLostDecode      SelfInt = "lost_decode"
	SelfLostDropped     SelfInt = "lost_kernel_drop"
	SelfNonFlowBytes    SelfInt = "non_flow_bytes"
	SelfFragments       SelfInt = "fragments"
	SelfFragmentBytes   SelfInt = "fragment_bytes"
	SelfFlowBytes       SelfInt = "flow_bytes"
	SelfDuplicateBytes  SelfInt = "duplicate_bytes"
	SelfDeviceBytes     SelfInt = "device_bytes"
	SelfDevicePackets   SelfInt = "device_packets"
	SelfDevices         SelfInt = "devices"
	SelfAttachGaps      SelfInt = "attach_gaps"
	SelfAttachGapBytes  SelfInt = "attach_gap_bytes"
	SelfAttachGapPacket SelfInt = "attach_gap_packets"
	SelfTakeovers       SelfInt = "takeovers"
	SelfWireBytes       SelfInt = "wire_bytes"
	SelfRepeatedBytes   SelfInt = "repeated_bytes"
	SelfOwnBytes        SelfInt = "own_bytes"
	SelfMapEntries      SelfInt = "map_entries"
	SelfMapCapacity     SelfInt = "map_capacity"
	SelfHooksAttached   SelfInt = "hooks_attached"
	SelfHooksMissing    SelfInt = "hooks_missing"
	SelfMatchedCookie   SelfInt = "matched_cookie"
	SelfMatchedTuple    SelfInt = "matched_tuple"
	SelfMatchedNAT      SelfInt = "matched_nat"
	SelfUnmatched       SelfInt = "unmatched"
	SelfAmbiguous       SelfInt = "ambiguous"
	SelfPaired          SelfInt = "paired"
	SelfOverflow        SelfInt = "overflow"
	SelfLocalBytes      SelfInt = "local_bytes"
	SelfAttributedBytes SelfInt = "attributed_bytes"
	SelfPacketOnlyBytes SelfInt = "packet_only_bytes"
	SelfMisses          SelfInt = "misses"
	SelfErrors          SelfInt = "errors"
	SelfEvicted         SelfInt = "evicted"
	SelfReused          SelfInt = "reused"
	SelfReuseMerged     SelfInt = "reuse_merged"
	SelfSeries          SelfInt = "series"
	SelfLogSeries       SelfInt = "log_series"
	SelfSeriesAdmitted  SelfInt = "series_admitted"
	SelfSeriesRefused   SelfInt = "series_refused"
	SelfSeriesExpired   SelfInt = "series_expired"
	SelfFoldedProcess   SelfInt = "folded_process"
	SelfFoldedContainer SelfInt = "folded_container"
	SelfFoldedOneEnd    SelfInt = "folded_one_end"
	SelfFoldedOther     SelfInt = "folded_other"
	SelfPortsEphemeral  SelfInt = "ports_ephemeral"
	SelfPortsOther      SelfInt = "ports_other"
	SelfPortsScanned    SelfInt = "ports_scanned"
	SelfScoresLost      SelfInt = "scores_lost"
	SelfLogRows         SelfInt = "log_rows"
	SelfLogSuppressed   SelfInt = "log_suppressed"
	SelfLogFolded       SelfInt = "log_folded"
	SelfValuesCleaned   SelfInt = "values_cleaned"
	SelfValuesClamped   SelfInt = "values_clamped"
	SelfFieldsSkipped   SelfInt = "fields_skipped"
	SelfQueueRows       SelfInt = "queue_rows"
	SelfQueueBytes      SelfInt = "queue_bytes"
	SelfSpoolBytes      SelfInt = "spool_bytes"
	SelfSegments        SelfInt = "segments"
	SelfCorrupt         SelfInt = "corrupt"
	SelfDroppedRows     SelfInt = "dropped_rows"
	SelfRejected        SelfInt = "rejected"
	SelfRejectedType    SelfInt = "rejected_field_type_conflict"
	SelfRejectedAge     SelfInt = "rejected_retention"
	SelfRejectedParse   SelfInt = "rejected_parse"
	SelfRejectedOther   SelfInt = "rejected_other"
	SelfRetries         SelfInt = "retries"
	SelfThrottled       SelfInt = "throttled"
	SelfConfigErrors    SelfInt = "config_errors"
	SelfServerFull      SelfInt = "server_full"
	SelfRequests        SelfInt = "requests"
	SelfRSS             SelfInt = "rss_bytes"

	SelfLostClosed      SelfInt = "lost_closed"
	SelfLostListener    SelfInt = "lost_listener"
	SelfLostReleased    SelfInt = "lost_released"
	SelfLostProcess     SelfInt = "lost_process"
	SelfLostCgroup      SelfInt = "lost_cgroup"
	SelfLostNAT         SelfInt = "lost_nat"
	SelfNATs            SelfInt = "nats"
	SelfDumps           SelfInt = "dumps"
	SelfNamespaces      SelfInt = "namespaces"
	SelfNoStorage       SelfInt = "no_storage"
	SelfNoContext       SelfInt = "close_without_context"
	SelfOverflowPackets SelfInt = "overflow_packets"
	SelfOverflowBytes   SelfInt = "overflow_bytes"
	SelfLostPackets     SelfInt = "lost_packets"
	SelfLostBytes       SelfInt = "lost_bytes"
	SelfUnparsed        SelfInt = "unparsed_packets"
	SelfOwnerBusy       SelfInt = "owner_busy"
	SelfProgramMisses   SelfInt = "program_misses"
	SelfTruncated       SelfInt = "truncated"
	SelfOtherNetwork    SelfInt = "other_network"
	SelfAdopted         SelfInt = "adopted"
	SelfBuried          SelfInt = "buried"
	SelfLate            SelfInt = "late"
	SelfNATOverflow     SelfInt = "nat_overflow"
	SelfLookups         SelfInt = "lookups"
	SelfResolved        SelfInt = "resolved"
	SelfTornBytes       SelfInt = "torn_bytes"
	SelfMemoryRows      SelfInt = "memory_rows"
	SelfMemoryBytes     SelfInt = "memory_bytes"
	SelfDiskErrors      SelfInt = "disk_errors"
	SelfRefusedRows     SelfInt = "refused_rows"

	SelfCoverage SelfFloat = "coverage"
	SelfCPU      SelfFloat = "cpu_seconds"
	SelfQueueAge SelfFloat = "queue_age_seconds"
	SelfLoop     SelfFloat = "loop_seconds"
	SelfUptime   SelfFloat = "uptime_seconds"
)

// Distribution names the fields of one distribution of durations.
type Distribution struct {
	Count, Sum, Min, P50, P90, P99, Max string
	// Buckets are the cumulative counts written with histograms: true. The
	// bucket +Inf is Count.
	Buckets [len(bucketBounds)]Bucket
}

// Bucket is one cumulative bucket field.
type Bucket struct {
	Name string
	LE   uint64 // inclusive upper bound, ns
}

// bucketBounds are the upper bounds in ns, with the suffix of the field's name in seconds.
var bucketBounds = [...]struct {
	ns      uint64
	seconds string
}{
	{100e3, "0.0001"}, {250e3, "0.00025"}, {500e3, "0.0005"}, {1e6, "0.001"}, {2500e3, "0.0025"},
	{5e6, "0.005"}, {10e6, "0.01"}, {25e6, "0.025"}, {50e6, "0.05"}, {100e6, "0.1"}, {250e6, "0.25"},
	{500e6, "0.5"}, {1e9, "1"}, {2500e6, "2.5"}, {5e9, "5"}, {10e9, "10"},
}

func distribution(name string) (d Distribution) {
	d = Distribution{
		Count: name + "_count", Sum: name + "_sum_seconds", Min: name + "_min_seconds",
		P50: name + "_p50_seconds", P90: name + "_p90_seconds", P99: name + "_p99_seconds", Max: name + "_max_seconds",
	}
	for i, b := range bucketBounds {
		d.Buckets[i] = Bucket{name + "_le_" + b.seconds, b.ns}
	}
	return d
}

func perEnd(suffix string) [2]string {
	return [2]string{TagName[ClientEnd] + "_" + suffix, TagName[ServerEnd] + "_" + suffix}
}
