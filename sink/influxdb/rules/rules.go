package rules

import (
	"time"

	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
)

// Rule is a figure that is looked at once a minute, and the bounds at which somebody is
// told.
type Rule struct {
	UID     string // Grafana's; never changed: it is what silences go by
	Name    string
	Meaning string // what is wrong when it fires
	Says    string // the same of one edge or end, with %s for the figure
	Advice  string // how much it takes, and where to look

	// The figure, Field, is what Of makes of the fields Top of the rows of the last
	// Reach, added up, by the fields Bottom, if there are any, for each value of By.
	Field       string
	From        string // measurement
	Where       []Any
	Of          Of
	Top, Bottom []string
	By          []string
	AtLeast     float64 // of Bottom; less is no evidence
	Reach       time.Duration
	// Details are fields of the newest row, of Latest, that say more than a number.
	Details []string

	Warn, Crit float64 // told when the figure is more; 0 = never
	Below      bool    // told when it is less
}

// Share says whether the figure is a part of a whole, 0 to 1.
func (r *Rule) Share() bool { return len(r.Bottom) > 0 }

// Of is what is made of the values of a field in the rows of Reach.
type Of string

// What there is. All but Sum are of one field, without a Bottom. Changes is how often it is
// another one than in the row before.
const (
	Sum      Of = "sum"
	Smallest Of = "min"
	Latest   Of = "last"
	Changes  Of = "changes"
)

// Any holds when one of its conditions on tags does.
type Any []Is

// Is compares a tag; a tag that is absent is "".
type Is struct {
	Tag, Value string
	Not        bool
}

// Every is how often a figure is looked at, Window what most of them look back.
const (
	Every  = time.Minute
	Window = 5 * time.Minute
	// longest is how long an anomaly may go on before it is usual (anomaly.accept), and
	// an hour.
	longest = 25 * time.Hour
)

// Silence is the one rule about what is not there: no rows of a host's probe for After,
// where there were some within Forget.
type Silence struct {
	UID, Name, Meaning string
	Measurement, Field string
	Stage              sink.Stage
	After, Forget      time.Duration
}

// Silent is the rule about the probe itself.
func Silent() Silence {
	return Silence{"weir-silent", "probe silent", "a host's probe has sent nothing for two minutes",
		sink.MeasurementSelf, string(sink.SelfRSS), sink.StageProcess, 2 * time.Minute, time.Hour}
}

// All are the rules there are, beside Silent.
func All() []Rule {
	list := append(append(ofEdges(), ofEnds()...), ofAnomalies()...)
	return append(list, ofTheProbe()...)
}

var (
	edge = []string{sink.TagHost, sink.TagName[sink.ClientEnd], sink.TagName[sink.ServerEnd]}
	end  = []string{sink.TagHost, sink.TagEnd}

	// once leaves out the server's row where the client's host tells, too.
	once = Any{{Tag: sink.TagReporter, Value: "server", Not: true}, {Tag: sink.TagKind[sink.ClientEnd], Value: "external"}}
	// What is around flows that have rows of their own.
	noTunnelsClient = Any{{Tag: sink.TagKind[sink.ClientEnd], Value: "tunnel", Not: true}}
	noTunnelsServer = Any{{Tag: sink.TagKind[sink.ServerEnd], Value: "tunnel", Not: true}}
)

func stage(s sink.Stage) []Any { return []Any{{{Tag: sink.TagStage, Value: string(s)}}} }

func ofEdges() []Rule {
	flows := []Any{once, noTunnelsClient, noTunnelsServer}
	return []Rule{
		{
			UID: "weir-connections-fail", Name: "connections fail", Meaning: "more than a tenth (half: critical) of the attempts to connect fail",
			Says: "%s of the attempts to connect fail", Advice: "Of at least 20 in five minutes. The service dashboard says why: refused, timeout, unreachable.",
			Field: "failed_ratio", From: sink.MeasurementFlow, Where: flows, Of: Sum, Top: []string{sink.FieldFailed}, Bottom: []string{sink.FieldAttempts},
			By: edge, AtLeast: 20, Reach: Window, Warn: 0.1, Crit: 0.5,
		},
		{
			UID: "weir-requests-fail", Name: "requests fail", Meaning: "more than a twentieth (half: critical) of the requests fail or get no answer",
			Says: "%s of the requests fail or get no answer", Advice: "Of at least 20 in five minutes, by the protocol's own rules. The service dashboard has the routes.",
			Field: "error_ratio", From: sink.MeasurementL7, Where: []Any{once}, Of: Sum, Top: []string{sink.FieldErrors, sink.FieldUnanswered}, Bottom: []string{sink.FieldRequests},
			By: edge, AtLeast: 20, Reach: Window, Warn: 0.05, Crit: 0.5,
		},
		{
			UID: "weir-retransmits", Name: "segments are sent again", Meaning: "more than a twentieth (a fifth: critical) of the packets are retransmits",
			Says: "%s of the packets are retransmits", Advice: "Of at least 1000 in five minutes. The errors dashboard shows where packets are lost.",
			Field: "retransmit_ratio", From: sink.MeasurementFlow, Where: flows, Of: Sum,
			Top:    []string{sink.FieldRetransmitsToServer, sink.FieldRetransmitsToClient},
			Bottom: []string{sink.FieldToServerPackets, sink.FieldToClientPackets},
			By:     edge, AtLeast: 1000, Reach: Window, Warn: 0.05, Crit: 0.2,
		},
		{
			UID: "weir-not-accepted", Name: "connections are not accepted", Meaning: "a listener has no room for connections",
			Says: "the listener had no room for %s connections", Advice: "In five minutes: the process accepts too slowly, or its backlog is too small.",
			Field: sink.FieldAcceptQueueDrops, From: sink.MeasurementFlowError, Of: Sum, Top: []string{sink.FieldAcceptQueueDrops},
			By: []string{sink.TagHost, sink.TagName[sink.ServerEnd]}, Reach: Window, Warn: 0.5,
		},
	}
}

func ofEnds() []Rule {
	return []Rule{
		{
			UID: "weir-oom", Name: "out of memory", Meaning: "processes were killed for want of memory",
			Says: "%s processes were killed for want of memory", Advice: "In five minutes. The event's row has the figures: memory, working set and limit.",
			Field: "killed", From: sink.MeasurementEvent, Where: []Any{{{Tag: sink.TagEventType, Value: string(sink.EventOOM)}}},
			Of: Sum, Top: []string{sink.FieldSeen}, By: []string{sink.TagHost, sink.TagName[sink.ServerEnd]}, Reach: Window, Crit: 0.5,
		},
		{
			UID: "weir-throttled", Name: "CPU quota used up", Meaning: "a container is throttled in more than half of its periods",
			Says: "the CPU quota is used up in %s of the periods", Advice: "Of at least 100 in five minutes.",
			Field: "throttled_ratio", From: sink.MeasurementContainer, Of: Sum,
			Top: []string{sink.ContainerField(usage.ThrottledPeriods)}, Bottom: []string{sink.ContainerField(usage.Periods)},
			By: end, AtLeast: 100, Reach: Window, Warn: 0.5,
		},
	}
}

// ofAnomalies are of all types but those that only inform, by how bad they are.
func ofAnomalies() []Rule {
	rule := func(severity sink.Severity) Rule {
		return Rule{
			Says: "%s of that kind go on", Advice: "The row of the event, on the dashboard of anomalies, says what was expected, what was seen, and which process it was.",
			Field: sink.FieldOngoing, From: sink.MeasurementEvent, Where: []Any{{{Tag: sink.TagSeverity, Value: string(severity)}}},
			Of: Latest, Top: []string{sink.FieldOngoing}, Reach: longest,
			By: []string{sink.TagHost, sink.TagEventType, sink.TagName[sink.ClientEnd], sink.TagName[sink.ServerEnd]},
			Details: []string{sink.FieldMessage, sink.LogProcess[sink.ClientEnd], sink.LogCmdline[sink.ClientEnd],
				sink.LogProcess[sink.ServerEnd], sink.LogCmdline[sink.ServerEnd]},
		}
	}
	unusual, suspicious := rule(sink.SeverityWarning), rule(sink.SeverityError)
	unusual.UID, unusual.Name, unusual.Meaning, unusual.Warn = "weir-unusual", "unusual traffic", "something is not as it was learnt (new_edge, new_destination, volume and others)", 0.5
	suspicious.UID, suspicious.Name, suspicious.Meaning, suspicious.Crit = "weir-suspicious", "suspicious traffic", "what somebody does who should not be there (port_scan, host_scan, exfiltration, beacon, dns_tunnel)", 0.5
	return []Rule{unusual, suspicious}
}

func ofTheProbe() []Rule {
	host := []string{sink.TagHost}
	return []Rule{
		{
			UID: "weir-coverage", Name: "owners are missing", Meaning: "more than a twentieth of the payload of local sockets has no known owner",
			Says: "of %s of the payload is it known whose it is", Advice: "Of at least 1 MB with a local socket in five minutes. weir doctor on the host says which hooks are missing.",
			Field: string(sink.SelfCoverage), From: sink.MeasurementSelf, Where: stage(sink.StageJoin), Of: Sum,
			Top: []string{string(sink.SelfAttributedBytes)}, Bottom: []string{string(sink.SelfLocalBytes)},
			By: host, AtLeast: 1e6, Reach: Window, Below: true, Warn: 0.95,
		},
		{
			UID: "weir-lost", Name: "the probe loses", Meaning: "events, packets, rows or alerts were lost",
			Says: "%s were lost", Advice: "In five minutes, in that stage. The probe health dashboard shows the reason.",
			Field: string(sink.SelfLost), From: sink.MeasurementSelf, Of: Sum, Top: []string{string(sink.SelfLost)},
			By: []string{sink.TagHost, sink.TagStage}, Reach: Window, Warn: 0.5,
		},
		{
			UID: "weir-rejected", Name: "rows are refused", Meaning: "the database refuses rows for good",
			Says: "the database refused %s rows for good", Advice: "In five minutes; the probe's log says why.",
			Field: string(sink.SelfRejected), From: sink.MeasurementSelf, Where: stage(sink.StageDelivery), Of: Sum, Top: []string{string(sink.SelfRejected)},
			By: host, Reach: Window, Warn: 0.5,
		},
		{
			UID: "weir-receivers", Name: "alerts are not delivered", Meaning: "the probe cannot tell receivers of its alerts",
			Says: "the probe cannot tell %s of its receivers", Advice: "For five minutes; the probe's log and /api/status say why.",
			Field: string(sink.SelfAlertsFailing), From: sink.MeasurementSelf, Where: stage(sink.StageAlerts), Of: Smallest, Top: []string{string(sink.SelfAlertsFailing)},
			By: host, Reach: Window, Warn: 0.5,
		},
		{
			UID: "weir-twice", Name: "two probes under one name", Meaning: "two probes write under the name of one host, or one starts again and again",
			Says: "the probe was another one %s times", Advice: "In five minutes. Rows of two probes with one name replace each other: give each a name of its own (--host). If there is one, its log says why it ends.",
			Field: "changes", From: sink.MeasurementInfo, Of: Changes, Top: []string{sink.InfoStarted}, By: host, Reach: Window, Warn: 2.5,
		},
	}
}
