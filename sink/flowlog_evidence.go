package sink

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink/lineproto"
)

// ownerEvents are the values of …_owner_event and …_creator_event, by
// kprobes.OwnerHow; ioEvents, by kprobes.IOHook, tell more of the last one.
var (
	ownerEvents = [...]string{"", "bootstrap", "listener", "create", "connect", "accept", "io"}
	ioEvents    = [...]string{"io", "read", "sent", "received", "sendmsg", "recvmsg"}
)

// usualCreator is the event that opens a socket of each end: not written.
var usualCreator = [2]kprobes.OwnerHow{ClientEnd: kprobes.OwnerConnect, ServerEnd: kprobes.OwnerListener}

// ownerEvent is the value of …_owner_event, empty when nothing told.
func ownerEvent(how kprobes.OwnerHow, hook kprobes.IOHook) string {
	switch {
	case how == kprobes.OwnerIO && int(hook) < len(ioEvents):
		return ioEvents[hook]
	case int(how) < len(ownerEvents):
		return ownerEvents[how]
	}
	return ""
}

// sameEvent says whether one event told opener and owner; at the probe's start
// two processes may hold the descriptor, found one after the other.
func sameEvent(v *correlate.Evidence) bool {
	return v.Creator == v.Owner && (v.CreatedAt == v.OwnedAt || v.Owner == kprobes.OwnerBootstrap)
}

// writeEndEvidence writes how the owner of an end became known: only what does
// not follow from what is written already.
func writeEndEvidence(enc *lineproto.Encoder, e *correlate.Endpoint, end int) {
	v := &e.Evidence
	known(enc, LogOwnerEvent[end], ownerEvent(v.Owner, v.Hook))
	moment(enc, LogOwnerTime[end], v.OwnedAt)
	if v.Creator != usualCreator[end] && !sameEvent(v) {
		known(enc, LogCreatorEvent[end], ownerEvent(v.Creator, kprobes.IOUnknown))
	}
	if v.CreatedAt != v.OwnedAt {
		moment(enc, LogCreatorTime[end], v.CreatedAt)
	}
	if v.Switches > 0 {
		enc.Int(LogSwitches[end], int64(v.Switches))
	}
	moment(enc, LogAcceptTime[end], v.Accepted)
	if v.Acceptor != 0 && (e.Process == nil || e.Process.PID != v.Acceptor) {
		enc.Int(LogAcceptPID[end], int64(v.Acceptor))
	}
	if v.Baseline {
		enc.Int(LogBaseline[end], 1)
	}
	if v.Group != "" {
		enc.String(LogCgroup[end], v.Group)
		if v.Legacy {
			enc.Int(LogCgroupVersion[end], 1)
		}
	}
	if p := e.Process; p != nil && p.Source != correlate.SourceEvents {
		enc.String(LogProcessSource[end], p.Source.String())
	}
}

// writeEvidence writes how a connection was put together.
func writeEvidence(enc *lineproto.Encoder, r *correlate.Record) {
	if r.JoinedBy != correlate.JoinNone {
		enc.String(LogJoinedBy, r.JoinedBy.String())
	}
	if r.PacketsBy != correlate.MethodNone {
		enc.String(LogPacketsBy, r.PacketsBy.String())
	}
	if r.NATSource != correlate.NATNone {
		enc.String(LogNATSource, r.NATSource.String())
	}
	for cause, n := range r.Rivals {
		if n > 0 {
			enc.Int(LogRivals[cause], int64(n))
		}
	}
}

func moment(enc *lineproto.Encoder, name string, t int64) {
	if t != 0 {
		enc.Int(name, t)
	}
}
