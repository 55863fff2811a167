package sink

// StageTLS looks inside TLS libraries; written where something is to be looked into.
const StageTLS Stage = "tls"

// Fields of weir_self of the stage tls.
const (
	SelfUnreadableBuffers SelfInt = "unreadable_buffers"
	SelfUnbound           SelfInt = "unbound"
	SelfBound             SelfInt = "bound"
	SelfTLSGroups         SelfInt = "tls_groups"
	SelfProbedFiles       SelfInt = "probed_files"
	SelfProbes            SelfInt = "probes"
	SelfAttached          SelfInt = "attached"
	SelfDetached          SelfInt = "detached"
	SelfUnattached        SelfInt = "unattached"
	SelfRefusedFiles      SelfInt = "refused_files"
	SelfVisits            SelfInt = "visits"
	SelfMissedStarts      SelfInt = "missed_starts"
)

func selfTLSFields() []Field {
	return []Field{
		selfLoss(SelfUnreadableBuffers, Count, "tls: buffers that could not be read; counted in lost"),
		selfLoss(SelfUnbound, Count, "tls: calls of connections whose socket is not known: memory is between the library and it, or the connection is older than the probes; seen: the others"),
		selfInt(SelfBound, Count, Delta, "tls: connections whose socket was found"),
		selfInt(SelfTLSGroups, Count, Gauge, "tls: control groups that are looked into"),
		selfInt(SelfProbedFiles, Count, Gauge, "tls: libraries and programs with probes"),
		selfInt(SelfProbes, Count, Gauge, "tls: probes"),
		selfInt(SelfAttached, Count, Delta, "tls: files that were given probes"),
		selfInt(SelfDetached, Count, Delta, "tls: files whose probes were taken away: no process runs them any more"),
		selfLoss(SelfUnattached, Count, "tls: files with TLS functions that could not be given probes"),
		selfLoss(SelfRefusedFiles, Count, "tls: times that a file was left out because too many have probes"),
		selfInt(SelfVisits, Count, Delta, "tls: looks at what a process runs"),
		selfLoss(SelfMissedStarts, Count, "tls: starts of processes left to the next round: too many at once"),
	}
}
