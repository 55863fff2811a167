package sink

import "github.com/weir-probe/weir/correlate/usage"

// The part of the schema that is not about edges: what containers and services use,
// and what happened to them.

// Measurements of one end.
const (
	MeasurementContainer = "container"
	MeasurementEvent     = "event"
)

// Tags of container, those of one end in flow under shorter names, and of event.
const (
	TagEnd          = "name"
	TagEndKind      = "kind"
	TagEndContainer = "container"
	TagEndNamespace = "namespace"
	TagEndWorkload  = "workload"
	TagEventType    = "type"
	TagSeverity     = "severity"
)

// FieldGroups of container is how many control groups are in the row.
const FieldGroups = "groups"

// Fields of event.
const (
	FieldMessage  = "message"
	FieldEvidence = "evidence"
	FieldExpected = "expected"
	FieldSeen     = "seen"
)

// Cores is CPU time per time.
const Cores Unit = "cores"

// column is how a value of a group is written.
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

// columns are the fields of container.
var columns = [usage.Values]column{
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
}

// ContainerField is the name of the field that a value of a control group is
// written to.
func ContainerField(v usage.Value) string { return columns[v].field.Name }

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
	for i := range columns {
		fs = append(fs, columns[i].field)
	}
	return fs
}

func eventTags() []Tag {
	return []Tag{
		tagHost,
		{TagEventType, "oom (processes killed for want of memory), throttled (in more than half of an interval's CPU periods; the first interval of a stretch), and anomalies: " + anomalyTypes()},
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

// StageResources reads what control groups use.
const StageResources Stage = "resources"

// Fields of weir_self, stage resources.
const (
	SelfGroups           SelfInt   = "groups"
	SelfLateRounds       SelfInt   = "late_rounds"
	SelfFiles            SelfInt   = "files"
	SelfUnreadable       SelfInt   = "unreadable"
	SelfGarbage          SelfInt   = "garbage"
	SelfFell             SelfInt   = "counters_fell"
	SelfEnded            SelfInt   = "groups_ended"
	SelfGroupsRefused    SelfInt   = "groups_refused"
	SelfUsageSeries      SelfInt   = "container_series"
	SelfUsageFolded      SelfInt   = "container_folded"
	SelfEvents           SelfInt   = "events"
	SelfEventsSuppressed SelfInt   = "events_suppressed"
	SelfEventsFolded     SelfInt   = "events_folded"
	SelfHostOOM          SelfInt   = "host_oom_kills"
	SelfRead             SelfFloat = "read_seconds"
)

func selfUsageFields() []Field {
	return []Field{
		selfInt(SelfGroups, Count, Gauge, "resources: control groups read"),
		selfInt(SelfLateRounds, Count, Delta, "resources: intervals without a reading because the one before took too long; the next one tells both"),
		selfInt(SelfFiles, Count, Delta, "resources: files read"),
		selfInt(SelfUnreadable, Count, Delta, "resources: files that are there and could not be read"),
		selfInt(SelfGarbage, Count, Delta, "resources: files that were not what they should be"),
		selfInt(SelfFell, Count, Delta, "resources: counters that fell: not told in that interval"),
		selfInt(SelfEnded, Count, Delta, "resources: groups that were gone when they were to be read"),
		selfInt(SelfGroupsRefused, Count, Delta, "resources: groups not read because there are too many"),
		selfInt(SelfUsageSeries, Count, Gauge, "resources: series of container held against the budget"),
		selfInt(SelfUsageFolded, Count, Delta, "resources: groups in a coarser series of container than their own"),
		selfInt(SelfEvents, Count, Delta, "resources: rows of event"),
		selfInt(SelfEventsSuppressed, Count, Delta, "resources: events not written to keep their rate"),
		selfInt(SelfEventsFolded, Count, Delta, "resources: events of `other` because too many ends have events"),
		selfInt(SelfHostOOM, Count, Delta, "resources: processes killed for want of memory on the whole host"),
		selfFloat(SelfRead, Seconds, Max, "resources: how long reading all groups took"),
	}
}
