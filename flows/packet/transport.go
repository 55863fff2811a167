package packet

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows"
)

// transport reads the header of protocol proto at off; rest is how many octets
// the IP header announces from there on.
func (i *Info) transport(data []byte, off int, proto uint8, rest int) error {
	i.Key.Proto = flows.Proto(proto)
	i.TransportOffset = off
	if i.Fragment == flows.FragmentLater {
		i.payload(off, rest, 0)
		return nil
	}
	var minimum int
	switch i.Key.Proto {
	case flows.TCP:
		minimum = 20
	case flows.SCTP:
		minimum = 12
	case flows.UDP, flows.ICMP, flows.ICMPv6:
		minimum = 8
	default:
		i.payload(off, rest, 0)
		return nil
	}
	if rest < minimum && !i.lengthUnknown {
		return ErrMalformed
	}
	if len(data) < off+minimum {
		return ErrTruncated
	}
	h := data[off:]
	switch i.Key.Proto {
	case flows.TCP:
		return i.tcp(h, rest)
	case flows.ICMP, flows.ICMPv6:
		i.icmp(h)
	default:
		i.ports(h)
	}
	i.payload(off, rest, minimum)
	return nil
}

// payload sets where the payload starts and how long the IP header says it is.
func (i *Info) payload(off, rest, header int) {
	i.PayloadOffset = off + header
	i.Payload = uint64(max(rest-header, 0))
}

func (i *Info) ports(h []byte) {
	i.Key.SrcPort = binary.BigEndian.Uint16(h)
	i.Key.DstPort = binary.BigEndian.Uint16(h[2:])
}

func (i *Info) tcp(h []byte, rest int) error {
	i.ports(h)
	i.Seq = binary.BigEndian.Uint32(h[4:])
	i.Ack = binary.BigEndian.Uint32(h[8:])
	i.Flags = flows.TCPFlags(h[13])
	i.Window = binary.BigEndian.Uint16(h[14:])
	header := int(h[12]>>4) * 4
	if header < 20 || (header > rest && !i.lengthUnknown) {
		return ErrMalformed
	}
	i.payload(i.TransportOffset, rest, header)
	return nil
}

// icmp puts the echo identifier into both ports; other types have none.
func (i *Info) icmp(h []byte) {
	i.ICMPType, i.ICMPCode = h[0], h[1]
	request, reply := uint8(8), uint8(0)
	if i.Key.Proto == flows.ICMPv6 {
		request, reply = 128, 129
	}
	if h[0] == request || h[0] == reply {
		id := binary.BigEndian.Uint16(h[4:])
		i.Key.SrcPort, i.Key.DstPort = id, id
		i.Reply = h[0] == reply
	}
}
