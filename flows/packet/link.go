package packet

import "encoding/binary"

const (
	etherIPv4    = 0x0800
	etherIPv6    = 0x86dd
	etherVLAN    = 0x8100
	etherQinQ    = 0x88a8
	etherQinQOld = 0x9100

	etherLen = 14
	vlanLen  = 4

	arphrdEther    = 1
	arphrdLoopback = 772
	sllOutgoing    = 4 // PACKET_OUTGOING
)

func (i *Info) ethernet(data []byte) error {
	if len(data) < etherLen {
		return ErrTruncated
	}
	return i.network(data, etherLen, binary.BigEndian.Uint16(data[12:]))
}

// cooked1 is LINKTYPE_LINUX_SLL: type, ARPHRD, address length, address[8], protocol.
func (i *Info) cooked1(data []byte) error {
	if len(data) < 16 {
		return ErrTruncated
	}
	i.cooked(binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]), 16)
	return i.network(data, 16, binary.BigEndian.Uint16(data[14:]))
}

// cooked2 is LINKTYPE_LINUX_SLL2: protocol, reserved, interface index, ARPHRD,
// packet type, address length, address[8].
func (i *Info) cooked2(data []byte) error {
	if len(data) < 20 {
		return ErrTruncated
	}
	i.cooked(uint16(data[10]), binary.BigEndian.Uint16(data[8:]), 20)
	i.Interface = binary.BigEndian.Uint32(data[4:])
	return i.network(data, 20, binary.BigEndian.Uint16(data))
}

// cooked takes the packet type and hardware type, and replaces the length of the
// pseudo header, which never was on a wire, by that of the link layer's own.
func (i *Info) cooked(packetType, hardware uint16, header int) {
	switch {
	case packetType == sllOutgoing:
		i.Travel = TravelOut
	case packetType < sllOutgoing:
		i.Travel = TravelIn
	}
	i.linkExtra = -header
	i.Loopback = hardware == arphrdLoopback
	if hardware == arphrdEther || i.Loopback {
		i.linkExtra += etherLen
	}
}

// network follows VLAN tags to the IP header.
func (i *Info) network(data []byte, off int, etherType uint16) error {
	for etherType == etherVLAN || etherType == etherQinQ || etherType == etherQinQOld {
		if i.VLANs == MaxVLANs {
			return ErrMalformed
		}
		if len(data) < off+vlanLen {
			return ErrTruncated
		}
		i.VLAN[i.VLANs] = binary.BigEndian.Uint16(data[off:]) & 0x0fff
		i.VLANs++
		etherType = binary.BigEndian.Uint16(data[off+2:])
		off += vlanLen
	}
	i.EtherType = etherType
	switch etherType {
	case etherIPv4:
		return i.ipv4(data, off)
	case etherIPv6:
		return i.ipv6(data, off)
	}
	return ErrNonIP
}

// ip goes by the version in the IP header, where the link layer has no type field.
func (i *Info) ip(data []byte, off int) error {
	if len(data) <= off {
		return ErrTruncated
	}
	switch data[off] >> 4 {
	case 4:
		i.EtherType = etherIPv4
		return i.ipv4(data, off)
	case 6:
		i.EtherType = etherIPv6
		return i.ipv6(data, off)
	}
	return ErrNonIP
}
