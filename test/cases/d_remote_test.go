package cases

import (
	wire "encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// remote is a host without sockets of this kernel, as a real one on the Internet
// is: it answers from a packet socket. Every namespace here has the same kernel,
// which shows weir both ends of each connection; the other end of a remote one
// it must find out otherwise.
type remote struct {
	fd     int
	answer int // octets for each request
	send   int // octets of a request of ours
	done   bool
}

const remoteISS = 1000

const (
	tcpFIN = 1
	tcpSYN = 2
	tcpPSH = 8
	tcpACK = 16
)

// childRemote answers TCP and UDP at any port with args[1] octets, on device
// args[0], until it is killed. It prints "up" when it listens.
func childRemote(args []string) error {
	r, err := openRemote(args[0])
	if err != nil {
		return err
	}
	if r.answer, err = strconv.Atoi(args[1]); err != nil {
		return err
	}
	fmt.Println("up")
	for {
		if err := r.next(); err != nil {
			return err
		}
	}
}

// childRemoteCall sends one request of args[4] octets by args[1] (tcp or udp) from
// args[2] to args[3], on device args[0] by the router args[5], and ends when it is
// answered.
func childRemoteCall(args []string) error {
	r, err := openRemote(args[0])
	if err != nil {
		return err
	}
	if r.send, err = strconv.Atoi(args[4]); err != nil {
		return err
	}
	from, to := netip.MustParseAddrPort(args[2]), netip.MustParseAddrPort(args[3])
	if err := unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	p := segment{src: from, dst: to}
	if args[1] == "udp" {
		p.proto, p.payload = unix.IPPROTO_UDP, make([]byte, r.send)
	} else {
		p.proto, p.flags, p.seq = unix.IPPROTO_TCP, tcpSYN, remoteISS
	}
	var router [8]byte
	mac, err := net.ParseMAC(args[5])
	if err != nil {
		return err
	}
	copy(router[:], mac)
	if err := r.write(&p, router); err != nil {
		return err
	}
	for !r.done {
		if err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

func openRemote(device string) (*remote, error) {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	const ip = unix.ETH_P_IP>>8 | unix.ETH_P_IP&0xff<<8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, ip)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &remote{fd: fd}, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: dev.Index})
}

// segment is one packet of IPv4 with TCP or UDP.
type segment struct {
	src, dst netip.AddrPort
	proto    uint8
	flags    uint8
	seq, ack uint32
	payload  []byte
}

// next reads a packet and does what it calls for.
func (r *remote) next() error {
	buf := make([]byte, 65536)
	n, from, err := unix.Recvfrom(r.fd, buf, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	ll, ok := from.(*unix.SockaddrLinklayer)
	if !ok || ll.Pkttype == unix.PACKET_OUTGOING || n < 28 {
		return nil
	}
	b := buf[:min(n, int(wire.BigEndian.Uint16(buf[2:])))]
	l4 := b[int(b[0]&15)*4:]
	in := segment{proto: b[9],
		src: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), wire.BigEndian.Uint16(l4)),
		dst: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), wire.BigEndian.Uint16(l4[2:]))}
	out := segment{src: in.dst, dst: in.src, proto: in.proto}
	switch in.proto {
	case unix.IPPROTO_UDP:
		if r.send > 0 {
			r.done = true
			return nil
		}
		out.payload = make([]byte, r.answer)
		return r.write(&out, ll.Addr)
	case unix.IPPROTO_TCP:
		in.flags, in.seq, in.ack, in.payload = l4[13], wire.BigEndian.Uint32(l4[4:]), wire.BigEndian.Uint32(l4[8:]), l4[int(l4[12]>>4)*4:]
		return r.tcp(&in, &out, ll.Addr)
	}
	return nil
}

// tcp is as much of RFC 9293 as a lossless wire needs.
func (r *remote) tcp(in, out *segment, mac [8]byte) error {
	out.flags, out.seq, out.ack = tcpACK, in.ack, in.seq+uint32(len(in.payload))
	switch {
	case in.flags&(tcpSYN|tcpACK) == tcpSYN:
		out.flags, out.seq, out.ack = tcpSYN|tcpACK, remoteISS, in.seq+1
	case in.flags&tcpSYN != 0: // ours was answered: the request and the end
		out.flags, out.ack, out.payload = tcpACK|tcpPSH|tcpFIN, in.seq+1, make([]byte, r.send)
	case in.flags&tcpFIN != 0 && r.send == 0:
		out.flags, out.ack, out.payload = tcpACK|tcpPSH|tcpFIN, out.ack+1, make([]byte, r.answer)
	case in.flags&tcpFIN != 0:
		out.ack++
		r.done = true
	case len(in.payload) == 0:
		return nil
	}
	return r.write(out, mac)
}

func (r *remote) write(s *segment, mac [8]byte) error {
	header := 8
	if s.proto == unix.IPPROTO_TCP {
		header = 20
	}
	b := make([]byte, 20+header, 20+header+len(s.payload))
	b = append(b, s.payload...)
	b[0], b[8], b[9] = 0x45, 64, s.proto
	wire.BigEndian.PutUint16(b[2:], uint16(len(b)))
	src, dst := s.src.Addr().As4(), s.dst.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	wire.BigEndian.PutUint16(b[10:], checksum(0, b[:20]))
	l4 := b[20:]
	wire.BigEndian.PutUint16(l4, s.src.Port())
	wire.BigEndian.PutUint16(l4[2:], s.dst.Port())
	at := 6
	if s.proto == unix.IPPROTO_TCP {
		wire.BigEndian.PutUint32(l4[4:], s.seq)
		wire.BigEndian.PutUint32(l4[8:], s.ack)
		l4[12], l4[13], l4[14], l4[15], at = 5<<4, s.flags, 0xff, 0xff, 16
	} else {
		wire.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	pseudo := uint32(s.proto) + uint32(len(l4))
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(wire.BigEndian.Uint16(b[i:]))
	}
	wire.BigEndian.PutUint16(l4[at:], checksum(pseudo, l4))
	to, err := unix.Getsockname(r.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	ll := to.(*unix.SockaddrLinklayer)
	return os.NewSyscallError("sendto", unix.Sendto(r.fd, b, 0, &unix.SockaddrLinklayer{Protocol: ll.Protocol, Ifindex: ll.Ifindex, Halen: 6, Addr: mac}))
}

func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(wire.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
