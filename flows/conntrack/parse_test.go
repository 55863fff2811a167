package conntrack

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

const testNS = 4026531840

// attr makes a netlink attribute.
func attr(typ uint16, v ...byte) []byte {
	b := make([]byte, attrSize, attrSize+len(v)+3)
	binary.NativeEndian.PutUint16(b, uint16(attrSize+len(v)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	b = append(b, v...)
	return append(b, make([]byte, -len(b)&3)...)
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// tupleAttr is a direction as the kernel writes it (ctnetlink_dump_tuples).
func tupleAttr(typ uint16, src, dst netip.Addr, proto flows.Proto, ports ...[]byte) []byte {
	s, d := uint16(ipV4Src), uint16(ipV4Dst)
	if src.Is6() {
		s, d = ipV6Src, ipV6Dst
	}
	const nested = 0x8000
	return attr(typ|nested, join(
		attr(tupleIP|nested, join(attr(s, src.AsSlice()...), attr(d, dst.AsSlice()...))...),
		attr(tupleProto|nested, join(attr(protoNum, byte(proto)), join(ports...))...))...)
}

func be(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func message(typ uint16, body []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr)
	binary.NativeEndian.PutUint32(b, uint32(len(b)+len(body)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	return append(b, body...)
}

func newEntry(attrs ...[]byte) []byte {
	return message(msgNew, append([]byte{unix.AF_INET, 0, 0, 0}, join(attrs...)...))
}

func portAttrs(src, dst uint16) []byte {
	return join(attr(protoSrcPort, be(src)...), attr(protoDstPort, be(dst)...))
}

var (
	v4a, v4b, v4c = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("198.51.100.1")
	v6a, v6b, v6c = netip.MustParseAddr("fd00::2"), netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("2001:db8::1")
)

// masqueraded is an entry of a → b seen as c → b.
func masqueraded(a, b, c netip.Addr, proto flows.Proto, orig, reply []byte) []byte {
	return newEntry(tupleAttr(attrTupleOrig, a, b, proto, orig), tupleAttr(attrTupleReply, b, c, proto, reply))
}

func id(typ uint16, v uint16) []byte { return attr(typ, be(v)...) }

// D8, one of three sources (with nat_test.go of flows/capture/tcx on a live
// kernel): what netlink says gives the key that a packet of the tuple has.
func TestCaseD8_KeysFromNetlink(t *testing.T) {
	for name, c := range map[string]struct {
		msg         []byte
		orig, reply flows.Key
	}{
		"tcp": {masqueraded(v4a, v4b, v4c, flows.TCP, portAttrs(40000, 443), portAttrs(443, 61000)),
			key(v4a, 40000, v4b, 443, flows.TCP), key(v4b, 443, v4c, 61000, flows.TCP)},
		"udp over IPv6": {masqueraded(v6a, v6b, v6c, flows.UDP, portAttrs(40000, 53), portAttrs(53, 40000)),
			key(v6a, 40000, v6b, 53, flows.UDP), key(v6b, 53, v6c, 40000, flows.UDP)},
		"icmp": {masqueraded(v4a, v4b, v4c, flows.ICMP, id(protoICMPID, 77), id(protoICMPID, 78)),
			key(v4a, 77, v4b, 77, flows.ICMP), key(v4b, 78, v4c, 78, flows.ICMP)},
		"icmp over IPv6": {masqueraded(v6a, v6b, v6c, flows.ICMPv6, id(protoICMPv6ID, 77), id(protoICMPv6ID, 77)),
			key(v6a, 77, v6b, 77, flows.ICMPv6), key(v6b, 77, v6c, 77, flows.ICMPv6)},
		"gre": {masqueraded(v4a, v4b, v4c, 47, portAttrs(5, 6), portAttrs(6, 5)),
			key(v4a, 0, v4b, 0, 47), key(v4b, 0, v4c, 0, 47)},
	} {
		var got []flows.NAT
		if _, err := parse(c.msg, testNS, 5, func(n *flows.NAT) { got = append(got, *n) }); err != nil || len(got) != 1 {
			t.Errorf("%s: %d entries, %v", name, len(got), err)
			continue
		}
		if want := (flows.NAT{Time: 5, Orig: c.orig, Reply: c.reply}); got[0] != want {
			t.Errorf("%s: got %+v, want %+v", name, got[0], want)
		}
	}
}

func key(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, proto flows.Proto) flows.Key {
	return flows.Key{Src: flows.AddrFrom(src), Dst: flows.AddrFrom(dst), SrcPort: sport, DstPort: dport, Proto: proto, NetNS: testNS}
}

func TestParseTellsOnlyTranslations(t *testing.T) {
	plain := newEntry(tupleAttr(attrTupleOrig, v4a, v4b, flows.TCP, portAttrs(1, 2)), tupleAttr(attrTupleReply, v4b, v4a, flows.TCP, portAttrs(2, 1)))
	half := newEntry(tupleAttr(attrTupleOrig, v4a, v4b, flows.TCP, portAttrs(1, 2)))
	other := message(0x200, make([]byte, 16))
	nat := masqueraded(v4a, v4b, v4c, flows.TCP, portAttrs(1, 2), portAttrs(2, 3))
	n := 0
	end, err := parse(join(plain, half, other, nat, message(unix.NLMSG_DONE, make([]byte, 4)), nat), testNS, 0, func(*flows.NAT) { n++ })
	if n != 1 || !end || err != nil {
		t.Errorf("%d translations, end %v, %v", n, end, err)
	}
	refused := message(unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, ^uint32(unix.EINVAL-1)))
	if end, err = parse(refused, testNS, 0, nil); !end || !errors.Is(err, unix.EINVAL) {
		t.Errorf("a refusal is end %v, %v", end, err)
	}
	if _, err = parse(nat[:len(nat)-3], testNS, 0, nil); !errors.Is(err, errMalformed) {
		t.Errorf("a cut message is %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(masqueraded(v4a, v4b, v4c, flows.TCP, portAttrs(1, 2), portAttrs(2, 3)))
	f.Add(masqueraded(v6a, v6b, v6c, flows.ICMPv6, id(protoICMPv6ID, 1), id(protoICMPv6ID, 2)))
	f.Add(message(unix.NLMSG_ERROR, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := parse(b, testNS, 1, func(n *flows.NAT) {
			if n.Orig == n.Reply.Reverse() || n.Orig.NetNS != testNS || n.Time != 1 || n.Orig.Proto == 0 {
				t.Errorf("told %+v", n)
			}
		})
		_ = err // any error is fine, a panic is not
	})
}
