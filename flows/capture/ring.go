package capture

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringHeader is what the kernel wrote in front of a frame in a TPACKET_V3 ring
// and gopacket/afpacket does not hand out.
type ringHeader struct {
	hardware   uint16 // ARPHRD_
	packetType uint8  // PACKET_HOST … PACKET_OUTGOING
	vlanValid  bool
	vlan       uint16 // id of the stripped tag
	linkLen    int    // octets of link-layer header in front of the network header
	segment    int    // gso_size, 0 when not segmented; only with PACKET_VNET_HDR
}

const (
	tpacket3Len = 48 // sizeof(struct tpacket3_hdr), TPACKET_ALIGNed; sockaddr_ll follows
	sockaddrLen = 20 // sizeof(struct sockaddr_ll)

	ringHeadMin = tpacket3Len + sockaddrLen
	// tp_mac is 68 + at least 16, aligned to 16, + 10 - the link-layer header: never
	// beyond this, which the block header and the least tp_mac leave in front of
	// any frame.
	ringHeadMax = 48 + ringHeadMin
)

// ringHeaderOf finds the header of data, a frame of interface ifindex in the
// ring. It stands tp_mac octets in front, 8-aligned; tp_mac depends on the link
// layer, so the distance of the previous packet (hint) is tried first. A
// candidate counts when it says so itself: tp_mac is the distance, tp_snaplen
// the length, sll_ifindex the interface.
//
// Reading in front of data stays inside the ring (ringHeadMax).
func ringHeaderOf(data []byte, ifindex, hint int) (h ringHeader, distance int, ok bool) {
	if len(data) == 0 {
		return h, 0, false
	}
	base := unsafe.Pointer(unsafe.SliceData(data))
	if hint != 0 && isRingHeader(base, hint, len(data), ifindex) {
		return readRingHeader(base, hint), hint, true
	}
	first := ringHeadMin + (int(uintptr(base))-ringHeadMin)&7
	for d := first; d <= ringHeadMax; d += 8 {
		if isRingHeader(base, d, len(data), ifindex) {
			return readRingHeader(base, d), d, true
		}
	}
	return h, 0, false
}

func isRingHeader(data unsafe.Pointer, distance, length, ifindex int) bool {
	if (int(uintptr(data))-distance)&7 != 0 {
		return false
	}
	raw := unsafe.Slice((*byte)(unsafe.Add(data, -distance)), distance)
	return int(binary.NativeEndian.Uint16(raw[24:])) == distance && // tp_mac
		int(binary.NativeEndian.Uint32(raw[12:])) == length && // tp_snaplen
		int(binary.NativeEndian.Uint32(raw[tpacket3Len+4:])) == ifindex // sll_ifindex
}

func readRingHeader(data unsafe.Pointer, distance int) ringHeader {
	raw := unsafe.Slice((*byte)(unsafe.Add(data, -distance)), distance)
	ll := raw[tpacket3Len:]
	h := ringHeader{
		hardware:   binary.NativeEndian.Uint16(ll[8:]),
		packetType: ll[10],
		vlanValid:  binary.NativeEndian.Uint32(raw[20:])&unix.TP_STATUS_VLAN_VALID != 0,
		vlan:       uint16(binary.NativeEndian.Uint32(raw[32:]) & 0x0fff),
		linkLen:    max(int(binary.NativeEndian.Uint16(raw[26:]))-distance, 0), // tp_net - tp_mac
	}
	if distance >= ringHeadMin+vnetHdrLen {
		vnet := raw[distance-vnetHdrLen:]
		if vnet[1] != 0 { // gso_type, VIRTIO_NET_HDR_GSO_NONE
			h.segment = int(binary.NativeEndian.Uint16(vnet[4:]))
		}
	}
	return h
}
