package packet

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows"
)

func (i *Info) ipv4(data []byte, off int) error {
	if len(data) < off+20 {
		return ErrTruncated
	}
	h := data[off:]
	headerLen := int(h[0]&0x0f) * 4
	if h[0]>>4 != 4 || headerLen < 20 {
		return ErrMalformed
	}
	i.IPVersion, i.NetworkOffset, i.TTL = 4, off, h[8]
	mapped(&i.Key.Src, h[12:16])
	mapped(&i.Key.Dst, h[16:20])

	rest := int(binary.BigEndian.Uint16(h[2:])) - headerLen
	if rest == -headerLen {
		i.lengthUnknown = true
		rest = 0
	} else if rest < 0 {
		return ErrMalformed
	}

	if frag := binary.BigEndian.Uint16(h[6:]); frag&0x3fff != 0 {
		i.FragmentID = uint32(binary.BigEndian.Uint16(h[4:]))
		i.Fragment = fragmentOf(frag & 0x1fff)
	}
	return i.transport(data, off+headerLen, h[9], rest)
}

func fragmentOf(offset uint16) flows.Fragment {
	if offset != 0 {
		return flows.FragmentLater
	}
	return flows.FragmentFirst
}

func mapped(a *flows.Addr, v4 []byte) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], v4)
}

// IPv6 extension headers (RFC 8200, IANA "IPv6 Extension Header Types").
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestination = 60
	extMobility    = 135
	extHIP         = 139
	extShim6       = 140

	// maxExtensions bounds the chain; real packets have three at most.
	maxExtensions = 8
)

func (i *Info) ipv6(data []byte, off int) error {
	if len(data) < off+40 {
		return ErrTruncated
	}
	h := data[off:]
	if h[0]>>4 != 6 {
		return ErrMalformed
	}
	i.IPVersion, i.NetworkOffset, i.TTL = 6, off, h[7]
	copy(i.Key.Src[:], h[8:24])
	copy(i.Key.Dst[:], h[24:40])
	rest := int(binary.BigEndian.Uint16(h[4:]))
	next := h[6]
	// Length 0 is a jumbogram (hop-by-hop option) or BIG TCP without one.
	i.lengthUnknown = rest == 0 && next != 59
	off += 40

	for n := 0; ; n++ {
		if i.Fragment == flows.FragmentLater {
			break // what follows is the middle of the datagram
		}
		size, known, err := i.extension(data, off, next)
		if err != nil {
			return err
		}
		if !known {
			break
		}
		if n == maxExtensions {
			return ErrMalformed
		}
		next = data[off]
		off += size
		if rest -= size; rest < 0 && !i.lengthUnknown {
			return ErrMalformed
		}
	}
	return i.transport(data, off, next, max(rest, 0))
}

// extension returns the size of the extension header of type next at off, or
// known false when next is not an extension header.
func (i *Info) extension(data []byte, off int, next uint8) (size int, known bool, err error) {
	switch next {
	case extHopByHop, extRouting, extFragment, extAuth, extDestination, extMobility, extHIP, extShim6:
	default:
		return 0, false, nil
	}
	if len(data) < off+8 {
		return 0, true, ErrTruncated
	}
	switch next {
	case extFragment:
		bits := binary.BigEndian.Uint16(data[off+2:])
		// Offset 0 and no more fragments is an atomic fragment (RFC 6946): whole.
		if bits&0xfff9 != 0 {
			i.FragmentID = binary.BigEndian.Uint32(data[off+4:])
			i.Fragment = fragmentOf(bits & 0xfff8)
		}
		return 8, true, nil
	case extAuth:
		size = (int(data[off+1]) + 2) * 4
	default:
		size = (int(data[off+1]) + 1) * 8
	}
	if len(data) < off+size {
		return 0, true, ErrTruncated
	}
	return size, true, nil
}
