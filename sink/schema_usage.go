package sink

import "github.com/weir-probe/weir/correlate/usage"

// The part of the schema that is not about edges: what containers and services use,
// and what happened to them.

// Measurements of one end.
const (
	MeasurementContainer = "container"
	MeasurementProcess   = "process"
	MeasurementEvent     = "event"
)

// Tags of container and process, those of one end in flow under shorter names, and of event.
const (
	TagEnd          = "name"
	TagEndKind      = "kind"
	TagEndProcess   = "process"
	TagEndContainer = "container"
	TagEndNamespace = "namespace"
	TagEndWorkload  = "workload"
	TagEventType    = "type"
	TagSeverity     = "severity"
)

// FieldGroups of container is how many control groups are in the row, FieldProcesses
// of process how many processes.
const (
	FieldGroups    = "groups"
	FieldProcesses = "processes"
)

// Fields of event.
const (
	FieldMessage  = "message"
	FieldEvidence = "evidence"
	FieldExpected = "expected"
	FieldSeen     = "seen"
)

// Cores is CPU time per time.
const Cores Unit = "cores"

// usageSchema is what a Usage writes.
type usageSchema struct {
	measurement string
	merged      string // the field that tells of how many the row is
	processes   bool   // process is a tag
	columns     [usage.Values]column
}

// column is how a value is written; the zero column is not.
type column struct {
	field Field
	// per is how many of the value's units one of the field's is; 1 writes an int.
	per float64
}

func nanoseconds(name, meaning string) column {
	return column{Field{Name: name, Type: Float, Unit: Seconds, Semantics: Delta, Meaning: meaning}, 1e9}
}

func counted(name string, u Unit, meaning string) column { return column{delta(name, u, meaning), 1} }

func gauged(name string, u Unit, meaning string) column {
	return column{Field{Name: name, Type: Int, Unit: u, Semantics: Gauge, Meaning: meaning}, 1}
}

// usageOfContainers are the fields of container.
var usageOfContainers = usageSchema{MeasurementContainer, FieldGroups, false, [usage.Values]column{
	usage.CPUUser:          nanoseconds("cpu_user_seconds", "CPU time in user space"),
	usage.CPUSystem:        nanoseconds("cpu_system_seconds", "CPU time in the kernel"),
	usage.Periods:          counted("cpu_periods", Count, "periods of the CPU quota in which there was something to run"),
	usage.ThrottledPeriods: counted("cpu_throttled_periods", Count, "of those: the quota was used up before the end"),
	usage.Throttled:        nanoseconds("cpu_throttled_seconds", "time kept from running by the quota, all CPUs added up"),
	usage.Quota:            {Field{Name: "cpu_quota_cores", Type: Float, Unit: Cores, Semantics: Gauge, Meaning: "the quota; absent: none"}, 1e6},
	usage.Memory:           gauged("memory_bytes", Bytes, "memory charged, the page cache included"),
	usage.WorkingSet:       gauged("memory_working_set_bytes", Bytes, "memory without file pages that were not used lately"),
	usage.MemoryLimit:      gauged("memory_limit_bytes", Bytes, "the limit (cgroup v1: or the one around it); absent: none"),
	usage.OOMKills:         counted("oom_kills", Count, "processes killed for want of memory, while the control group lives on"),
	usage.ReadOctets:       counted("io_read_bytes", Bytes, "read from block devices"),
	usage.WriteOctets:      counted("io_write_bytes", Bytes, "written to block devices"),
	usage.Reads:            counted("io_reads", Count, "read operations of block devices"),
	usage.Writes:           counted("io_writes", Count, "write operations of block devices"),
	usage.PIDs:             gauged("pids", Count, "processes and threads"),
	usage.PIDLimit:         gauged("pids_limit", Count, "the limit of those; absent: none"),
	usage.CPUSome:          nanoseconds("cpu_stalled_some_seconds", "time in which something waited for a CPU (PSI some)"),
	usage.CPUFull:          nanoseconds("cpu_stalled_full_seconds", "… and nothing ran (PSI full)"),
	usage.MemorySome:       nanoseconds("memory_stalled_some_seconds", "time in which something waited for memory"),
	usage.MemoryFull:       nanoseconds("memory_stalled_full_seconds", "… and nothing ran"),
	usage.IOSome:           nanoseconds("io_stalled_some_seconds", "time in which something waited for block I/O"),
	usage.IOFull:           nanoseconds("io_stalled_full_seconds", "… and nothing ran"),
	usage.Sockets:          openSockets,
	usage.Listeners:        listeners,
	usage.Waiting:          listenQueue,
	usage.Backlog:          listenQueueLimit,
}}

// usageOfProcesses are the fields of process.
var usageOfProcesses = usageSchema{MeasurementProcess, FieldProcesses, true, [usage.Values]column{
	usage.CPUUser:     nanoseconds("cpu_user_seconds", "CPU time in user space, in steps of 10 ms"),
	usage.CPUSystem:   nanoseconds("cpu_system_seconds", "CPU time in the kernel, in steps of 10 ms"),
	usage.ReadOctets:  counted("io_read_bytes", Bytes, "read from block devices"),
	usage.WriteOctets: counted("io_write_bytes", Bytes, "written to block devices, or to be"),
	usage.Resident:    gauged("memory_resident_bytes", Bytes, "its memory that is in RAM, what it shares included"),
	usage.Threads:     gauged("threads", Count, "threads"),
	usage.OpenFiles:   gauged("open_files", Count, "open file descriptors, sockets included (Linux 6.2 and later)"),
	usage.Sockets:     openSockets,
	usage.Listeners:   listeners,
	usage.Waiting:     listenQueue,
	usage.Backlog:     listenQueueLimit,
}}

// What both have, as the joiner knows it.
var (
	openSockets      = gauged("tcp_sockets", Count, "TCP sockets that are connected or connecting")
	listeners        = gauged("tcp_listeners", Count, "listening TCP sockets")
	listenQueue      = gauged("listen_queue", Count, "connections that wait to be accepted")
	listenQueueLimit = gauged("listen_queue_limit", Count, "how many may wait, all listeners added up")
)

func containerTags() []Tag {
	return []Tag{
		tagHost,
		{TagEnd, "stable display name, the one that `client` or `server` has in flow"},
		{TagEndKind, "container, pod, process (a systemd service: flow calls the ends of its processes so), other"},
		{TagEndContainer, "container name; in a pod the one of its spec"},
		{TagEndNamespace, "Kubernetes namespace"},
		{TagEndWorkload, "Kubernetes workload with its kind"},
	}
}

func containerFields() []Field {
	fs := []Field{gauged(FieldGroups, Count, "control groups in the row: replicas that share its tags").field}
	fs = append(fs, delta(FieldDroppedPackets, Packets, "packets of its sockets or its network namespace that the kernel dropped, for whatever reason (drop has them by reason); absent: none"))
	return append(fs, usageOfContainers.fields()...)
}

func processTags() []Tag {
	return append(containerTags(), Tag{TagEndProcess, "executable; absent where the series budget has no room for it"})
}

func processFields() []Field {
	fs := []Field{gauged(FieldProcesses, Count, "processes in the row: those that share its tags").field}
	return append(fs, usageOfProcesses.fields()...)
}

func (s *usageSchema) fields() []Field {
	var fs []Field
	for i := range s.columns {
		if s.columns[i].per != 0 {
			fs = append(fs, s.columns[i].field)
		}
	}
	return fs
}

func eventTags() []Tag {
	return []Tag{
		tagHost,
		{TagEventType, "oom (processes killed for want of memory), throttled (in more than half of an interval's CPU periods; the first interval of a stretch), container_start, container_stop (seen: how many seconds it lived), connection_failed (of an edge that did not fail for five minutes; seen: failed attempts of the interval), drop (an end that lost ten packets or more in the interval, and did not for five minutes, because a buffer, a queue or a table was full, a neighbour did not answer, or memory was short; seen: packets), and anomalies: " + anomalyTypes()},
		{TagSeverity, "info, warning, error"},
		{TagName[ClientEnd], "of an edge: the client"},
		{TagName[ServerEnd], "of an edge: the server; else who it happened to"},
	}
}

func eventFields() []Field {
	return append([]Field{
		label(FieldMessage, "what happened, in words"),
		label(FieldEvidence, "the figures behind it, key=value"),
		{Name: FieldExpected, Type: Float, Semantics: Gauge, Meaning: "the value that was to be expected, or the limit"},
		{Name: FieldSeen, Type: Float, Semantics: Gauge, Meaning: "the value seen"},
	}, anomalyFields()...)
}

// StageResources reads what control groups use, StageEvents tells what happened.
const (
	StageResources Stage = "resources"
	StageEvents    Stage = "events"
)

// Fields of weir_self, stages resources and events.
const (
	SelfGroups           SelfInt   = "groups"
	SelfLateRounds       SelfInt   = "late_rounds"
	SelfFiles            SelfInt   = "files"
	SelfUnreadable       SelfInt   = "unreadable"
	SelfGarbage          SelfInt   = "garbage"
	SelfFell             SelfInt   = "counters_fell"
	SelfEnded            SelfInt   = "groups_ended"
	SelfGroupsRefused    SelfInt   = "groups_refused"
	SelfProcessesRead    SelfInt   = "processes_read"
	SelfProcessesEnded   SelfInt   = "processes_ended"
	SelfProcessesRefused SelfInt   = "processes_refused"
	SelfProcessSeries    SelfInt   = "process_series"
	SelfProcessFolded    SelfInt   = "process_folded"
	SelfUsageSeries      SelfInt   = "container_series"
	SelfUsageFolded      SelfInt   = "container_folded"
	SelfEvents           SelfInt   = "events"
	SelfEventsSuppressed SelfInt   = "events_suppressed"
	SelfEventsFolded     SelfInt   = "events_folded"
	SelfEventsUnnoted    SelfInt   = "failures_unnoted"
	SelfHostOOM          SelfInt   = "host_oom_kills"
	SelfRead             SelfFloat = "read_seconds"
)

func selfUsageFields() []Field {
	return []Field{
		selfInt(SelfGroups, Count, Gauge, "resources: control groups read"),
		selfLoss(SelfLateRounds, Count, "resources: intervals without a reading because the one before took too long; the next one tells both"),
		selfInt(SelfFiles, Count, Delta, "resources: files read"),
		selfLoss(SelfUnreadable, Count, "resources: files that are there and could not be read"),
		selfLoss(SelfGarbage, Count, "resources: files that were not what they should be"),
		selfLoss(SelfFell, Count, "resources: counters that fell: not told in that interval"),
		selfInt(SelfEnded, Count, Delta, "resources: groups that were gone when they were to be read"),
		selfLoss(SelfGroupsRefused, Count, "resources: groups not read because there are too many"),
		selfInt(SelfProcessesRead, Count, Gauge, "resources: processes read"),
		selfInt(SelfProcessesEnded, Count, Delta, "resources: processes that were gone when they were to be read"),
		selfLoss(SelfProcessesRefused, Count, "resources: processes not read because there are too many"),
		selfInt(SelfProcessSeries, Count, Gauge, "resources: series of process held against the budget"),
		selfLoss(SelfProcessFolded, Count, "resources: processes in a coarser series of process than their own"),
		selfInt(SelfUsageSeries, Count, Gauge, "resources: series of container held against the budget"),
		selfLoss(SelfUsageFolded, Count, "resources: groups in a coarser series of container than their own"),
		selfInt(SelfEvents, Count, Delta, "events: rows of event"),
		selfLoss(SelfEventsSuppressed, Count, "events: events not written to keep their rate"),
		selfLoss(SelfEventsFolded, Count, "events: events of `other` because too many ends have events"),
		selfLoss(SelfEventsUnnoted, Count, "events: failed attempts and drops that no event tells of because too many ends have some"),
		selfInt(SelfHostOOM, Count, Delta, "resources: processes killed for want of memory on the whole host"),
		selfFloat(SelfRead, Seconds, Max, "resources: how long reading all groups took"),
	}
}
