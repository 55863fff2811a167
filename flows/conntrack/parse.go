package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

// linux/netfilter/nfnetlink_conntrack.h
const (
	msgNew = unix.NFNL_SUBSYS_CTNETLINK << 8 // + IPCTNL_MSG_CT_NEW, which is 0
	msgGet = msgNew + 1                      // IPCTNL_MSG_CT_GET

	attrTupleOrig  = 1
	attrTupleReply = 2

	tupleIP    = 1
	tupleProto = 2

	ipV4Src = 1
	ipV4Dst = 2
	ipV6Src = 3
	ipV6Dst = 4

	protoNum      = 1
	protoSrcPort  = 2
	protoDstPort  = 3
	protoICMPID   = 4
	protoICMPv6ID = 7

	genMsgSize  = 4      // struct nfgenmsg
	attrSize    = 4      // struct nlattr
	attrTypeBit = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

var errMalformed = errors.New("malformed conntrack message")

// parse calls yield for each translating entry in the messages of b. end is true
// after the last message of a dump; err is the kernel's, or says that lengths
// contradict each other: what stood before was told.
func parse(b []byte, netns uint32, now int64, yield func(*flows.NAT)) (end bool, err error) {
	var n flows.NAT
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		typ := binary.NativeEndian.Uint16(b[4:])
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false, fmt.Errorf("%w: length %d of %d", errMalformed, size, len(b))
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch typ {
		case unix.NLMSG_DONE:
			return true, errnoOf(body)
		case unix.NLMSG_ERROR:
			return true, errnoOf(body)
		case msgNew:
			n = flows.NAT{Time: now}
			switch ok, err := entry(body, netns, &n); {
			case err != nil:
				return false, err
			case ok:
				yield(&n)
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return false, nil
}

// errnoOf reads the error at the start of NLMSG_DONE and NLMSG_ERROR.
func errnoOf(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(body)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}

// entry reads one conntrack entry and says whether it translates.
func entry(b []byte, netns uint32, n *flows.NAT) (bool, error) {
	if len(b) < genMsgSize {
		return false, fmt.Errorf("%w: no header", errMalformed)
	}
	var orig, reply bool
	err := attributes(b[genMsgSize:], func(typ uint16, v []byte) (err error) {
		switch typ {
		case attrTupleOrig:
			n.Orig, orig, err = tuple(v, netns)
		case attrTupleReply:
			n.Reply, reply, err = tuple(v, netns)
		}
		return err
	})
	return orig && reply && n.Orig != n.Reply.Reverse(), err
}

// tuple reads one direction; false when it is of no use: no addresses.
func tuple(b []byte, netns uint32) (flows.Key, bool, error) {
	var src, dst flows.Addr
	var sport, dport uint16
	var proto flows.Proto
	found := 0
	err := attributes(b, func(typ uint16, v []byte) error {
		switch typ {
		case tupleIP:
			return attributes(v, func(typ uint16, v []byte) error {
				to := &src
				if typ == ipV4Dst || typ == ipV6Dst {
					to = &dst
				}
				switch {
				case (typ == ipV4Src || typ == ipV4Dst) && len(v) == 4:
					*to = flows.Addr{10: 0xff, 11: 0xff, 12: v[0], 13: v[1], 14: v[2], 15: v[3]}
				case (typ == ipV6Src || typ == ipV6Dst) && len(v) == 16:
					*to = flows.Addr(v)
				default:
					return nil
				}
				found++
				return nil
			})
		case tupleProto:
			return attributes(v, func(typ uint16, v []byte) error {
				switch {
				case typ == protoNum && len(v) == 1:
					proto = flows.Proto(v[0])
				case len(v) != 2:
				case typ == protoSrcPort, typ == protoICMPID, typ == protoICMPv6ID:
					sport = binary.BigEndian.Uint16(v)
				case typ == protoDstPort:
					dport = binary.BigEndian.Uint16(v)
				}
				return nil
			})
		}
		return nil
	})
	return flows.NATKey(src, dst, sport, dport, proto, netns), found == 2 && proto != 0, err
}

// attributes calls f with each netlink attribute in b.
func attributes(b []byte, f func(typ uint16, v []byte) error) error {
	for len(b) >= attrSize {
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrSize || size > len(b) {
			return fmt.Errorf("%w: attribute of %d in %d", errMalformed, size, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&attrTypeBit, b[attrSize:size]); err != nil {
			return err
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}
