package flows

// fragmentLife is how long a datagram's fragments may trail its first one
// (Linux reassembles for 30 s, ipfrag_time).
const fragmentLife = 30e9 // ns

// fragmentKey identifies a datagram. IPv6 identifications are unique per address
// pair (RFC 8200 section 4.5) and the protocol is not the same in all fragments.
type fragmentKey struct {
	src, dst Addr
	id       uint32
	netns    uint32
	proto    Proto // 0 for IPv6
}

// fragmentTable remembers the ports of fragmented datagrams, the newest ones.
type fragmentTable struct {
	index map[fragmentKey]int32
	ring  []fragmentEntry
	size  int // capacity
	next  int // oldest entry of a full ring
}

type fragmentEntry struct {
	id               fragmentKey
	time             int64
	srcPort, dstPort uint16
	proto            Proto
}

func (t *fragmentTable) init(size int) {
	t.index = make(map[fragmentKey]int32)
	t.size = size
}

// resolve remembers a first fragment, or completes key for a later one; false
// when the first one is not known.
func (t *fragmentTable) resolve(p *Packet, key *Key) bool {
	id := fragmentKey{src: key.Src, dst: key.Dst, id: p.FragmentID, netns: key.NetNS, proto: key.Proto}
	if !key.Src.Is4() {
		id.proto = 0
	}
	at, known := t.index[id]
	if p.Fragment == FragmentLater {
		if !known || p.Time-t.ring[at].time > fragmentLife {
			return false
		}
		e := &t.ring[at]
		key.SrcPort, key.DstPort, key.Proto = e.srcPort, e.dstPort, e.proto
		return true
	}
	if !known {
		at = t.slot()
		t.index[id] = at
	}
	t.ring[at] = fragmentEntry{id: id, time: p.Time, srcPort: key.SrcPort, dstPort: key.DstPort, proto: key.Proto}
	return true
}

// slot returns a free entry, the oldest one's when the table is full.
func (t *fragmentTable) slot() int32 {
	if len(t.ring) < t.size {
		t.ring = append(t.ring, fragmentEntry{})
		return int32(len(t.ring) - 1)
	}
	at := t.next
	t.next = (t.next + 1) % t.size
	delete(t.index, t.ring[at].id)
	return int32(at)
}
