// Package tcx is the in-kernel metering process of the flow path: a BPF program
// at every network device (tcx on Linux 6.6+, a clsact filter below it) adds
// each packet to its flow's entry in a map, and Meter reads the map on a timer,
// takes differences and hands out flows.Record deltas. No packet is copied to
// user space.
//
// The program is bpf/flow.bpf.c; how a packet that crosses several devices is
// counted once, and where the limits of that lie, is explained at its top.
//
// Goroutines: Collect, Drain and Stats belong to one goroutine, the collector's.
// Run (hot-plug) has its own; Devices, Status and Close may be called from any.
// Attach and Run must be called in the network namespace to be observed; a
// program that changes namespaces locks its thread.
//
// # What the interface counters count
//
// A Device's ledger (Seen, SKBs, SKBOctets) can be compared with the counters of
// the same device (Kernel), with these conventions, found by measuring (see
// checkCounters in the tests):
//
//   - veth and other software devices count super-packets: one per skb, the
//     length with one header. Compare SKBs and SKBOctets.
//   - lo, in both directions, and a bridge or VXLAN in its rx counters, count an skb
//     without its 14-octet Ethernet header: Kernel octets = SKBOctets − 14·SKBs.
//     Stats.Carried is the sum over all devices by these two rules.
//   - egress is seen before the stack takes apart a super-packet that the device
//     cannot send whole (no TSO, or larger than its gso_max_size; lo's is 64 kB):
//     tx counters then lie between SKBs and Seen.
//   - an egress packet that is then refused (peer down, queue full) is in SKBs
//     but not in the tx counters: it is in tx_dropped or the qdisc's drops.
//   - hardware counts what is on the wire: compare Seen. The 4 octets of an
//     offloaded VLAN tag are in Seen (they were in every frame), not in SKBOctets.
package tcx
