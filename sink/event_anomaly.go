package sink

import (
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/sink/lineproto"
)

// Fields of event that only anomalies have, beside the fields of flow_log of the same
// names.
const (
	FieldState       = "state"
	FieldFingerprint = "fingerprint"
	FieldEventProto  = "proto"
	FieldOngoing     = "ongoing"
)

// anomalyTypes lists the types of anomalies, as the tag `type` has them.
func anomalyTypes() string {
	var names []string
	for _, t := range anomaly.Types() {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// severityOf is how bad an anomaly is: what somebody does is worse than what happens.
func severityOf(t anomaly.Type) Severity {
	switch t {
	case anomaly.NewService:
		return SeverityInfo
	case anomaly.PortScan, anomaly.HostScan, anomaly.Exfiltration, anomaly.Beacon, anomaly.DNSTunnel:
		return SeverityError
	}
	return SeverityWarning
}

// AnomalyEvent is the event that tells of the beginning or the end of a, which it
// keeps.
func AnomalyEvent(a *anomaly.Anomaly) Event {
	e := Event{
		Type: EventType(a.Type.String()), Severity: severityOf(a.Type), Client: a.Client.Name, Server: a.Server.Name,
		Message: a.Message, Evidence: a.Evidence, Expected: a.Expected, Seen: a.Seen, Anomaly: a,
	}
	for i, p := range [...]*anomaly.Party{&a.Client, &a.Server} {
		if p.Name != "" {
			e.Actors[i] = Actor{p.Container, p.PID, p.Process, p.User, p.Cmdline}
		}
	}
	return e
}

// writeAnomaly adds what only an anomaly has.
func writeAnomaly(enc *lineproto.Encoder, a *anomaly.Anomaly) {
	enc.Float(FieldScore, a.Score)
	enc.String(FieldState, a.State.String())
	enc.String(FieldFingerprint, a.ID())
	enc.Int(FieldOngoing, int64(a.Ongoing))
	enc.Int(LogStart, a.Since)
	if a.State == anomaly.Resolved {
		enc.Float(LogDuration, time.Duration(a.Time-a.Since).Seconds())
	}
	if a.Proto != 0 {
		enc.String(FieldEventProto, a.Proto.String())
	}
	if a.Port != 0 {
		enc.Int(LogPort[ServerEnd], int64(a.Port))
	}
	for i, p := range [...]*anomaly.Party{&a.Client, &a.Server} {
		if p.Address != "" {
			enc.String(LogAddress[i], p.Address)
		}
		if p.Name != "" {
			enc.String(TagKind[i], p.Kind.String())
		}
	}
}

func anomalyFields() []Field {
	fs := []Field{
		{Name: FieldScore, Type: Float, Semantics: Gauge, Meaning: "anomalies: how far seen is from expected, in widths of the usual spread or multiples of a threshold"},
		label(FieldState, "anomalies: active (it begins), resolved (it is over)"),
		{Name: FieldOngoing, Type: Int, Unit: Count, Semantics: Gauge, Meaning: "anomalies: how many of the type go on between the two ends from then on; the last row's holds"},
		label(FieldFingerprint, "anomalies: the same for the same kind of thing between the same ends, of both its rows and on every run"),
		{Name: LogStart, Type: Int, Unit: Nanos, Semantics: Gauge, Meaning: "anomalies: when it began, unix ns"},
		{Name: LogDuration, Type: Float, Unit: Seconds, Semantics: Gauge, Meaning: "anomalies: how long it was active"},
		label(FieldEventProto, "anomalies: tcp, udp, icmp, …"),
		{Name: LogPort[ServerEnd], Type: Int, Semantics: Gauge, Meaning: "anomalies: the server's port, where it is one"},
	}
	for i := range 2 {
		fs = append(fs,
			label(TagKind[i], "anomalies: what the end is"),
			label(LogAddress[i], "anomalies: the address of who scans from outside, or is scanned"),
			label(LogContainer[i], "the container that did it last"),
			label(LogProcess[i], "the process that did it last"),
			Field{Name: LogPID[i], Type: Int, Semantics: Gauge, Meaning: "its PID"},
			label(LogUser[i], "its user, name or number"),
			label(LogCmdline[i], "its command line, redacted as in flow_log; of anomalies with control characters escaped"))
	}
	return fs
}

// StageAnomaly learns what is usual between services.
const StageAnomaly Stage = "anomaly"

// Fields of weir_self, stage anomaly.
const (
	SelfEdges         SelfInt = "edges"
	SelfEnds          SelfInt = "ends"
	SelfProfiles      SelfInt = "profiles"
	SelfLearning      SelfInt = "learning"
	SelfAlarms        SelfInt = "alarms"
	SelfAnomalies     SelfInt = "anomalies"
	SelfAnomaliesOver SelfInt = "anomalies_resolved"
	SelfSilenced      SelfInt = "anomalies_silenced"
	SelfNotTold       SelfInt = "anomalies_dropped"
	SelfUnclear       SelfInt = "unclear"
	SelfGuessed       SelfInt = "guessed"
	SelfAccepted      SelfInt = "edges_accepted"
	SelfDeployed      SelfInt = "deployments"
	SelfForgotten     SelfInt = "edges_forgotten"
	SelfSources       SelfInt = "scan_sources"
	SelfDomains       SelfInt = "domains"
	SelfQueries       SelfInt = "queries"
	SelfStateBytes    SelfInt = "state_bytes"
	SelfSaves         SelfInt = "saves"
	SelfSaveFailures  SelfInt = "save_failures"
)

func selfAnomalyFields() []Field {
	return []Field{
		selfInt(SelfEdges, Count, Gauge, "anomaly: edges in the graph"),
		selfInt(SelfEnds, Count, Gauge, "anomaly: their ends"),
		selfInt(SelfProfiles, Count, Gauge, "anomaly: edges of which is known what is usual"),
		selfInt(SelfLearning, Count, Gauge, "anomaly: 1 while everything is taken for usual"),
		selfInt(SelfAlarms, Count, Gauge, "anomaly: anomalies that go on"),
		selfInt(SelfAnomalies, Count, Delta, "anomaly: anomalies that began and were told"),
		selfInt(SelfAnomaliesOver, Count, Delta, "anomaly: anomalies that ended and were told"),
		selfInt(SelfSilenced, Count, Delta, "anomaly: anomalies that a silence kept from being told"),
		selfLoss(SelfNotTold, Count, "anomaly: anomalies not told because too many go on"),
		selfInt(SelfUnclear, Count, Delta, "anomaly: records without an owner at an end that lives here: not learnt"),
		selfInt(SelfGuessed, Count, Delta, "anomaly: records of no known edge of which is not known who is the client: not learnt"),
		selfInt(SelfAccepted, Count, Delta, "anomaly: new edges that are not told: while learning, after a deployment, of who does little else"),
		selfInt(SelfDeployed, Count, Delta, "anomaly: deployments seen"),
		selfInt(SelfForgotten, Count, Delta, "anomaly: edges forgotten after a long time without traffic"),
		selfInt(SelfSources, Count, Gauge, "anomaly: clients whose attempts in vain are counted"),
		selfInt(SelfDomains, Count, Gauge, "anomaly: domains whose names are counted"),
		selfInt(SelfQueries, Count, Delta, "anomaly: DNS questions looked at"),
		selfInt(SelfStateBytes, Bytes, Gauge, "anomaly: size of the state that was saved last"),
		selfInt(SelfSaves, Count, Delta, "anomaly: times the state was saved"),
		selfLoss(SelfSaveFailures, Count, "anomaly: times it could not be saved"),
	}
}
