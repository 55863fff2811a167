package netlab

import "golang.org/x/sys/unix"

// Flags of a TCP segment.
const (
	FIN = 1 << iota
	SYNFlag
	RST
	PSH
	ACK
)

// SYN sends a TCP SYN from an address that need not be this namespace's: call it in Do.
func SYN(from [4]byte, fromPort uint16, to [4]byte, port uint16) error {
	return Segment(from, fromPort, to, port, SYNFlag)
}

// Segment sends an empty TCP segment with these flags, like SYN.
func Segment(from [4]byte, fromPort uint16, to [4]byte, port uint16, flags byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, segment(from, fromPort, to, port, flags), 0, &unix.SockaddrInet4{Addr: to})
}

// segment is an IPv4 packet with an empty TCP segment.
func segment(from [4]byte, fromPort uint16, to [4]byte, port uint16, flags byte) []byte {
	p := make([]byte, 40)
	p[0], p[3], p[8], p[9] = 0x45, 40, 64, unix.IPPROTO_TCP
	copy(p[12:], from[:])
	copy(p[16:], to[:])
	tcp := p[20:]
	tcp[0], tcp[1], tcp[2], tcp[3] = byte(fromPort>>8), byte(fromPort), byte(port>>8), byte(port)
	tcp[7], tcp[12], tcp[13], tcp[14] = 1, 5<<4, flags, 0xff // sequence 1, no options, a window
	sum := uint32(unix.IPPROTO_TCP + len(tcp))
	for _, part := range [][]byte{p[12:20], tcp} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i])<<8 | uint32(part[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	tcp[16], tcp[17] = byte(^sum>>8), byte(^sum)
	return p
}
