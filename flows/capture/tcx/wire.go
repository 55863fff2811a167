package tcx

import "github.com/weir-probe/weir/flows"

// The structs of bpf/include/flow_types.h. TestWireLayout compares them with the
// BTF of the object. None of them leaves this package.

const (
	hookIngress = 0
	hookEgress  = 1

	eventEnded = 1
	eventNAT   = 2

	numFlags = 12

	nearDevices = 256
)

type flowKey struct {
	A, B         [16]uint8
	APort, BPort uint16
	Proto        uint8
	_            uint8
	Domain       uint16
}

type flowDir struct {
	Packets, Octets, Payload uint64
	LastNs                   uint64
	Cookie                   uint64
	ZeroWindows, Tick        uint32
	Owner                    uint32
	Flags                    [numFlags]uint8
}

type flowVal struct {
	StartNs  uint64
	SynackNs uint64
	First    uint8
	Loopback uint8
	NatDone  uint8
	Quick    uint8
	Syn      uint8
	_        [3]uint8
	Dir      [2]flowDir
}

type devKey struct {
	Ifindex, Hook uint32
}

type devSum struct {
	Packets, Octets uint64
}

type devVal struct {
	Ifindex         uint64
	Skbs, SkbOctets uint64
	Seen            devSum
	Flow            devSum
	Dup             devSum
	Nonflow         devSum
	Frag            devSum
	Overflow        devSum
	Malformed       devSum
}

type flowStat struct {
	Stray       uint64
	Takeovers   uint64
	Reuses      uint64
	ReuseMerged uint64
	Nats        uint64
	NatsLost    uint64
	NatErrors   uint64
}

type eventHead struct {
	Ns   uint64
	Type uint32
	_    uint32
}

type flowEnded struct {
	Head eventHead
	Key  flowKey
	Val  flowVal
}

type natTuple struct {
	Src, Dst     [16]uint8
	Sport, Dport uint16
	Proto        uint8
	_            [3]uint8
}

type flowNat struct {
	Head        eventHead
	Orig, Reply natTuple
}

func (k *flowKey) key() flows.Key {
	return flows.Key{Src: k.A, Dst: k.B, SrcPort: k.APort, DstPort: k.BPort, Proto: flows.Proto(k.Proto), Domain: k.Domain}
}

func (t *natTuple) key(netns uint32) flows.Key {
	return flows.NATKey(t.Src, t.Dst, t.Sport, t.Dport, flows.Proto(t.Proto), netns)
}

// flags folds the byte per flag into the bits of flows.TCPFlags.
func (d *flowDir) flags() flows.TCPFlags {
	var f flows.TCPFlags
	for i, set := range d.Flags {
		if set != 0 {
			f |= 1 << i
		}
	}
	return f
}

// ended says whether the connection is over: FIN both ways, or a reset.
func (v *flowVal) ended() bool {
	a, b := v.Dir[0].flags(), v.Dir[1].flags()
	return (a|b)&flows.RST != 0 || a&b&flows.FIN != 0
}

// last is the CLOCK_BOOTTIME of the last packet in either direction, ns.
func (v *flowVal) last() uint64 { return max(v.Dir[0].LastNs, v.Dir[1].LastNs) }

// synACK is the time from the SYN that began v to the answer, ns; 0 when there was none.
func (v *flowVal) synACK() int64 {
	if v.Syn == 0 || v.SynackNs == 0 || v.Dir[v.First&1^1].flags()&flows.SYNACK == 0 {
		return 0
	}
	return max(int64(v.SynackNs-v.StartNs), 0)
}

// initiator of key k, which v's Dir[0] goes forward on.
func (v *flowVal) initiator(proto flows.Proto) flows.Initiator {
	if proto != flows.TCP {
		return sender(int(v.First))
	}
	for i := range v.Dir {
		switch f := v.Dir[i].flags(); {
		case f&flows.SYNOnly != 0:
			return sender(i)
		case f&flows.SYNACK != 0:
			return sender(1 - i)
		}
	}
	return flows.InitiatorUnknown
}

func sender(dir int) flows.Initiator {
	if dir == 0 {
		return flows.InitiatorSrc
	}
	return flows.InitiatorDst
}

func (d *devVal) add(o *devVal) {
	d.Skbs += o.Skbs
	d.SkbOctets += o.SkbOctets
	d.Seen.add(o.Seen)
	d.Flow.add(o.Flow)
	d.Dup.add(o.Dup)
	d.Nonflow.add(o.Nonflow)
	d.Frag.add(o.Frag)
	d.Overflow.add(o.Overflow)
	d.Malformed.add(o.Malformed)
}

func (s *devSum) add(o devSum) {
	s.Packets += o.Packets
	s.Octets += o.Octets
}
