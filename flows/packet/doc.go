// Package packet decodes the headers of one frame into an Info: link layer,
// VLAN tags, IPv4 or IPv6 with its extension headers, and the transport header,
// without allocation and without looking further.
//
// An Info is filled in two steps, because a frame does not know its own length
// on the wire: Decode reads the headers, Account adds what the capture knows
// (time, length on the wire, segment size).
//
// Lengths. Payload comes from the IP total length, so that a capture cut at 96
// octets counts right. A GSO or GRO packet that was captured before
// segmentation (length on the wire > MTU) counts as recorded, one packet,
// unless the capture says how long its segments were; with IP length 0 (TSO,
// BIG TCP) the payload follows from the length on the wire. Tunnels (GRE,
// VXLAN, IP in IP) are not opened: the outer flow is what is counted.
package packet
