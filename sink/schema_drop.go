package sink

import (
	"strings"

	"github.com/weir-probe/weir/kprobes"
)

// MeasurementDrop is of one end, like container.
const MeasurementDrop = "drop"

// Tags of drop, beside those of container.
const (
	TagClass  = "class"
	TagReason = "reason"
)

// Fields of drop; container has the first.
const (
	FieldDroppedPackets = "dropped_packets"
	FieldDroppedBytes   = "dropped_bytes"
)

// Reasons of drop that are not the kernel's own.
const (
	ClassConntrack      = "conntrack"
	ReasonConntrackFull = "conntrack_full"
)

// Fields of weir_self, stage kernel.
const (
	SelfLostDrops      SelfInt = "lost_drops"
	SelfLostHandshakes SelfInt = "lost_handshakes"
	SelfDropSeries     SelfInt = "drop_series"
	SelfDropsFolded    SelfInt = "drops_folded"
)

func selfDropFields() []Field {
	return []Field{
		selfLoss(SelfLostDrops, Count, "kernel: dropped packets that are not in drop, because there were too many reasons and owners at once"),
		selfLoss(SelfLostHandshakes, Count, "kernel: SYN-ACKs sent again that were not followed, because there were too many"),
		selfInt(SelfDropSeries, Count, Gauge, "kernel: series of drop held against the budget"),
		selfLoss(SelfDropsFolded, Count, "kernel: counts in a coarser series of drop than their own"),
	}
}

func dropTags() []Tag {
	var classes []string
	for _, c := range kprobes.DropClasses() {
		classes = append(classes, c.String())
	}
	tags := append(containerTags(),
		Tag{TagClass, strings.Join(classes, ", ") + ", " + ClassConntrack},
		Tag{TagReason, "the kernel's name (skb_drop_reason, in lower case); " + ReasonConntrackFull + ": a new connection found no room in the table, and its packet is also among the netfilter_drop; other: past the series budget"})
	tags[2].Meaning = "container, pod, process (a systemd service), host (whatever else is in the host's network namespace), unknown (… in another one, by its name where somebody gave it one: ip netns), other"
	return tags
}

func dropFields() []Field {
	return []Field{
		delta(FieldDroppedPackets, Packets, "IP packets that the kernel gave up: of the socket that sent or was to receive them, where one was known, else of the network namespace of the device; a super-packet is one. Duplicates and what ends a connection are not counted"),
		delta(FieldDroppedBytes, Bytes, "their octets, as far as they had come up through the headers"),
	}
}
