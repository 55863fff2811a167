package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weir-probe/weir/flows/conntrack"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// natHook is the hook that reads translations from what sockets send.
const natHook = "cgroup_skb/egress with conntrack"

// openNATs chooses where translations come from that packets do not tell: those
// of the host's namespace unless its devices are metered in a kernel that shows
// conntrack entries there, those of other namespaces unless the hook of their
// sockets does. Each place has one source.
func openNATs(packets packetPath, sockets socketPath, log *slog.Logger) *conntrack.Watcher {
	return conntrack.New(conntrack.Config{
		Host: packets.Status().NAT != natAvailable, Others: !readsNAT(sockets.Status()), HostNetNS: hostNetNS(), Log: log,
	})
}

func readsNAT(hooks []kprobes.Status) bool {
	return slices.ContainsFunc(hooks, func(s kprobes.Status) bool { return s.Probe == natHook && s.State == kprobes.StateAttached })
}

// nat says where translations come from: for the API, the log and doctor.
func (k *kernelSide) nat() string {
	var from []string
	if k.packets.Status().NAT == natAvailable {
		from = append(from, "packets")
	}
	if readsNAT(k.sockets.Status()) {
		from = append(from, "sockets")
	}
	if k.nats.Active() {
		if why := k.nats.Status(); why != "" {
			from = append(from, "unavailable: "+why)
		} else {
			from = append(from, "conntrack")
		}
	}
	return strings.Join(from, ", ")
}

// selfNATs writes the row of stage conntrack; what packets and sockets told
// stands in their own stages.
func (k *kernelSide) selfNATs(s *sink.Self, t time.Time) (lost uint64) {
	if !k.nats.Active() {
		return 0
	}
	st := k.nats.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageConntrack, n, v) }
	lost = st.Lost + st.Overflow + st.Malformed
	s.Stage(t, sink.StageConntrack,
		m(sink.SelfNATs, st.Told), m(sink.SelfDumps, st.Dumps), sink.SelfNamespaces.Is(uint64(st.Namespaces)),
		m(sink.SelfLost, lost), m(sink.SelfLostDropped, st.Lost), m(sink.SelfLostQueueFull, st.Overflow), m(sink.SelfLostDecode, st.Malformed),
		m(sink.SelfErrors, st.Errors), m(sink.SelfMisses, st.Refused))
	return lost
}

// examineNAT says which source tells translations here.
func examineNAT(packets packetPath, hooks []kprobes.Status) check {
	c := check{Area: "packet path", Name: "NAT", State: good}
	var from []string
	p := packets.Status().NAT
	if p == natAvailable {
		from = append(from, "the host's: from packets")
	} else if why := conntrack.New(conntrack.Config{HostNetNS: hostNetNS()}).Check(); why == "" {
		from = append(from, "the host's: from conntrack's events (packets: "+strings.TrimPrefix(p, "unavailable: ")+")")
	} else {
		c.State = limited
		c.Remedy = "without it the address behind a translation is missing in rows"
		from = append(from, fmt.Sprintf("the host's: nat=unavailable: %s; packets: %s", why, strings.TrimPrefix(p, "unavailable: ")))
	}
	if readsNAT(hooks) {
		from = append(from, "containers' own: from their sockets' packets")
	} else {
		from = append(from, "containers' own: from conntrack's events, which takes CAP_SYS_ADMIN")
	}
	c.Detail = strings.Join(from, "; ")
	return c
}
