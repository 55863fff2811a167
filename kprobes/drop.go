package kprobes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// DropClass is why packets are given up, in the few words of which somebody makes a
// graph; DropEvent.Reason is the kernel's.
type DropClass uint8

// The classes. dropQuiet is no class: nothing was lost.
const (
	DropOther         DropClass = iota // a reason that this version of Weir does not know
	DropUnspecified                    // the kernel does not say: old code, or the end of a socket with packets left in it
	DropReceiveBuffer                  // the socket's process reads too slowly
	DropListenQueue                    // so does the process that accepts
	DropNoSocket                       // nobody has the port or the protocol
	DropPolicy                         // a filter: netfilter, BPF, traffic control, IPsec, security modules
	DropNeighbour                      // no answer to ARP or neighbour discovery
	DropRoute                          // no route, or an address that can't be
	DropQueue                          // a queue of a device, a CPU or a traffic shaper is full
	DropMalformed                      // checksums, headers, sizes
	DropMemory                         // the kernel has none
	DropTCP                            // out of its connection's window or state
	dropClasses
	dropQuiet DropClass = 255
)

var dropClassNames = [dropClasses]string{"other", "unspecified", "receive_buffer", "listen_queue", "no_socket", "policy", "neighbour", "route", "queue", "malformed", "memory", "tcp"}

// String returns the tag value.
func (c DropClass) String() string { return dropClassNames[c] }

// DropClasses returns every class.
func DropClasses() []DropClass {
	all := make([]DropClass, dropClasses)
	for i := range all {
		all[i] = DropClass(i)
	}
	return all
}

// DropEvent is what was dropped for one reason of one owner since the last Trouble.
// Its handler gets a reused one.
type DropEvent struct {
	Reason string // the kernel's name in lower case: socket_rcvbuff
	Class  DropClass
	// Control groups of the socket's owner, 0 where there was no socket.
	CgroupV2, CgroupV1 uint64
	NetNS              uint32 // of the socket, else of the device; 0 unknown
	Packets, Octets    uint64 // a super-packet is one
}

// dropClass maps the kernel's names, without SKB_DROP_REASON_, to classes, by the
// longest prefix. What is not here is DropOther.
var dropPrefixes = map[string]DropClass{
	// Nothing was lost: a duplicate, the end of a connection, somebody else's packet.
	"SKB_CONSUMED": dropQuiet, "SKB_NOT_DROPPED_YET": dropQuiet, "OTHERHOST": dropQuiet, "UNICAST_IN_L2_MULTICAST": dropQuiet,
	"TCP_OLD": dropQuiet, "TCP_TOO_OLD_ACK": dropQuiet, "TCP_OFOMERGE": dropQuiet, "TCP_RFC7323_PAWS_ACK": dropQuiet,
	"TCP_RESET": dropQuiet, "TCP_CLOSE": dropQuiet, "SOCKET_CLOSE": dropQuiet, "QUEUE_PURGE": dropQuiet, "DUP_FRAG": dropQuiet,
	"UNIX_": dropQuiet, "PACKET_SOCK_ERROR": dropQuiet, "LOCAL_MAC": dropQuiet,

	"NOT_SPECIFIED":  DropUnspecified,
	"SOCKET_RCVBUFF": DropReceiveBuffer, "SOCKET_BACKLOG": DropReceiveBuffer, "PROTO_MEM": DropReceiveBuffer, "TCP_ZEROWINDOW": DropReceiveBuffer,
	"TCP_OVERWINDOW": DropReceiveBuffer, "TCP_OFO_": DropReceiveBuffer,
	"TCP_LISTEN_OVERFLOW": DropListenQueue,
	"NO_SOCKET":           DropNoSocket, "IP_NOPROTO": DropNoSocket,
	"SOCKET_FILTER": DropPolicy, "NETFILTER_DROP": DropPolicy, "XFRM_POLICY": DropPolicy, "BPF_CGROUP": DropPolicy, "TC_": DropPolicy,
	"XDP": DropPolicy, "SECURITY_HOOK": DropPolicy, "TCP_AUTH_HDR": DropPolicy, "TCP_MD5": DropPolicy, "TCP_AO": DropPolicy,
	"TCP_MINTTL": DropPolicy, "TAP_": DropPolicy, "IPV6DISABLED": DropPolicy, "PSP_": DropPolicy,
	"NEIGH_":         DropNeighbour,
	"IP_OUTNOROUTES": DropRoute, "IP_INNOROUTES": DropRoute, "IP_RPFILTER": DropRoute, "IP_INADDRERRORS": DropRoute, "IP_LOCAL": DropRoute,
	"IP_INVALID_": DropRoute, "MAC_INVALID_SOURCE": DropRoute, "NO_TX_TARGET": DropRoute,
	"QDISC_": DropQueue, "CAKE_": DropQueue, "FQ_": DropQueue, "DUALPI2_": DropQueue, "CPU_BACKLOG": DropQueue, "FULL_RING": DropQueue,
	"PKT_TOO_": DropMalformed, "TCP_CSUM": DropMalformed, "UDP_CSUM": DropMalformed, "IP_CSUM": DropMalformed, "ICMP_CSUM": DropMalformed,
	"SKB_CSUM": DropMalformed, "IP_INHDR": DropMalformed, "HDR_TRUNC": DropMalformed, "DEV_HDR": DropMalformed, "INVALID_PROTO": DropMalformed,
	"UNHANDLED_PROTO": DropMalformed, "IPV6_": DropMalformed, "FRAG_": DropMalformed, "SKB_GSO_SEG": DropMalformed, "VXLAN_INVALID_HDR": DropMalformed,
	"NOMEM": DropMemory, "SKB_UCOPY_FAULT": DropMemory, "PFMEMALLOC": DropMemory,
	"TCP_": DropTCP,
}

func classOf(reason string) DropClass {
	best, class := 0, DropOther
	for p, c := range dropPrefixes {
		if len(p) > best && strings.HasPrefix(reason, p) {
			best, class = len(p), c
		}
	}
	return class
}

// dropIdle is after how many rounds without a drop an entry is deleted.
const dropIdle = 60

type dropKey struct {
	CgroupV2, CgroupV1 uint64
	NetNS, Reason      uint32
}

type dropValue struct{ Packets, Octets uint64 }

type dropTold struct {
	dropValue
	idle uint32 // rounds
}

type dropReason struct {
	name  string
	class DropClass
}

// dropTable is the user-space half of drop.bpf.c.
type dropTable struct {
	reasons map[uint32]dropReason
	told    map[dropKey]dropTold // no more than the kernel's map holds
	batch[dropKey, dropValue]
	event DropEvent
}

// nameReasons reads the kernel's names, and tells the programs which are quiet.
func (s *Set) nameReasons() error {
	t := &s.drops
	t.reasons, t.told = map[uint32]dropReason{}, map[dropKey]dropTold{}
	spec, err := s.btf.Kernel()
	if err != nil {
		return nil // without types no program will load, and says so
	}
	var e *btf.Enum
	if err := spec.TypeByName("skb_drop_reason", &e); err != nil {
		return nil // Linux < 5.17: the programs will not load either
	}
	quiet := s.maps[objDrop]["drop_quiet"]
	for _, v := range e.Values {
		name := strings.TrimPrefix(v.Name, "SKB_DROP_REASON_")
		r := dropReason{strings.ToLower(name), classOf(name)}
		t.reasons[uint32(v.Value)] = r
		if r.class != dropQuiet || v.Value >= uint64(quiet.MaxEntries()) {
			continue
		}
		if err := quiet.Put(uint32(v.Value), uint8(1)); err != nil {
			return fmt.Errorf("say which drops are quiet: %w", err)
		}
	}
	return nil
}

// reason of a number: also of one that has no name, as a module's (mac80211,
// openvswitch), whose enums are not the kernel's.
func (t *dropTable) reason(n uint32) dropReason {
	r, ok := t.reasons[n]
	if !ok {
		r = dropReason{"reason_" + strconv.FormatUint(uint64(n), 10), DropOther}
		t.reasons[n] = r
	}
	return r
}

// TroubleHandler takes what Set.Trouble tells.
type TroubleHandler interface {
	Drop(*DropEvent)
	HalfOpen(*HalfOpenEvent)
}

// Trouble tells h what was dropped since the last call, and which handshakes were
// given up. Call it once per interval.
func (s *Set) Trouble(h TroubleHandler) error {
	if s.closed {
		return nil
	}
	return errors.Join(s.readDrops(h), s.readHalfOpen(h))
}

func (s *Set) readDrops(h TroubleHandler) error {
	t, m := &s.drops, s.maps[objDrop]["drops"]
	if m == nil || s.programs["kfree_skb_rx"] == nil && s.programs["kfree_skb"] == nil {
		return nil
	}
	if err := t.read(m, func(k *dropKey, v *dropValue) { t.tell(m, k, v, h) }); err != nil {
		return fmt.Errorf("read dropped packets: %w", err)
	}
	return nil
}

// tell hands out what is new in an entry. One that is deleted because nothing came
// for long loses what comes in that very moment.
func (t *dropTable) tell(m *ebpf.Map, k *dropKey, v *dropValue, h TroubleHandler) {
	was := t.told[*k]
	if v.Packets == was.Packets {
		if was.idle++; was.idle < dropIdle {
			t.told[*k] = was
			return
		}
		if err := m.Delete(k); err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
			delete(t.told, *k)
		}
		return
	}
	r := t.reason(k.Reason)
	t.event = DropEvent{
		Reason: r.name, Class: r.class, CgroupV2: k.CgroupV2, CgroupV1: k.CgroupV1, NetNS: k.NetNS,
		Packets: v.Packets - was.Packets, Octets: v.Octets - was.Octets,
	}
	t.told[*k] = dropTold{dropValue: *v}
	h.Drop(&t.event)
}

// batch reads the entries of a map that is seldom full, some at a time.
type batch[K, V any] struct {
	keys   []K
	values []V
}

const batchEntries = 512

// read calls f with each entry, which f may delete. One may show up twice while others
// come and go.
func (b *batch[K, V]) read(m *ebpf.Map, f func(*K, *V)) error {
	if b.keys == nil {
		b.keys, b.values = make([]K, batchEntries), make([]V, batchEntries)
	}
	var cursor ebpf.MapBatchCursor
	for range m.MaxEntries()/batchEntries + 2 {
		n, err := m.BatchLookup(&cursor, b.keys, b.values, nil)
		for i := range n {
			f(&b.keys[i], &b.values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil // the end
		}
		if err != nil {
			return err
		}
	}
	return nil
}
