package kprobes

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
)

// peerBatch is how many entries of the peer map are read per system call.
const peerBatch = 4096

// peerSlack is how far before the last call an entry may have been touched and
// still be reported, ns: the kernel counts a packet a moment before it writes
// the time, and to report a total twice does no harm.
const peerSlack = 1_000_000_000

// socketOwner is what is known of a datagram socket besides its traffic.
type socketOwner struct {
	opener, owner Owner
	openerAt, at  uint64 // boottime ns, when opener and owner were learnt
	hook          IOHook
	switches      uint32
	netns         uint32
	refused       uint32
}

// peerTable is the user-space half of the datagram accounting. Owners are read
// from the sockets when the counters are read, so they are right after fork,
// exec and handover; of a socket that has closed, from its last record.
type peerTable struct {
	live, before  map[uint64]socketOwner // owners of open sockets: now, at the last call
	gone, goneOld map[uint64]socketOwner // of closed ones: since the last call, before it
	keys          []peerKey
	values        []peerValue
	batchKeys     []peerKey
	batchValues   []peerValue
	last          uint64 // boottime ns of the last call
	event         PeerEvent
}

func (t *peerTable) init() {
	t.live, t.before = make(map[uint64]socketOwner), make(map[uint64]socketOwner)
	t.gone, t.goneOld = make(map[uint64]socketOwner), make(map[uint64]socketOwner)
}

// owner takes a record about a datagram socket.
func (t *peerTable) owner(w *wireDatagram) {
	o := socketOwner{netns: w.NetNS, refused: w.Refused, switches: w.Switches, openerAt: w.Opener.At, at: w.Owner.At, hook: IOHook(w.Owner.Hook)}
	setOwner(&o.opener, &w.Opener)
	setOwner(&o.owner, &w.Owner)
	if w.Type == recDatagramReleased {
		t.gone[w.Cookie] = o
	} else {
		t.live[w.Cookie] = o
	}
}

// find returns the owner of a socket and whether the socket is gone.
func (t *peerTable) find(cookie uint64) (o socketOwner, released bool) {
	if o, ok := t.gone[cookie]; ok {
		return o, true // and more than the iterator told, if it still met the socket
	}
	if o, ok := t.live[cookie]; ok {
		return o, false
	}
	for _, m := range []map[uint64]socketOwner{t.goneOld, t.before} {
		// in before only: it closed, and its record was lost
		if o, ok := m[cookie]; ok {
			return o, true
		}
	}
	return socketOwner{}, false // no storage: a socket of the kernel's
}

// Peers tells h what every datagram socket exchanged with each of its peers, as
// far as there was something since the last call. It drains the ring buffers on
// the way (h gets those events, too), so that an owner is known of every entry
// whose socket closed before it was read.
func (s *Set) Peers(h Handler) error {
	t := &s.peers
	now, err := clock.BootTime()
	if err != nil {
		return err
	}
	if err := s.readPeers("udp_peer"); err != nil {
		return err
	}
	t.before, t.live = t.live, t.before
	clear(t.live)
	if err := s.iterateEither("datagram_owners", "datagram_files", h); err != nil {
		return err
	}
	if _, err := s.Drain(h); err != nil {
		return err
	}
	s.report("udp_peer", now, h)
	if err := s.readPeers("peer_overflow"); err != nil {
		return err
	}
	s.report("peer_overflow", now, h)
	t.gone, t.goneOld = t.goneOld, t.gone
	clear(t.gone)
	t.last = now
	return nil
}

// readPeers copies a map into keys and values.
func (s *Set) readPeers(name string) error {
	t, m := &s.peers, s.maps[objSocket][name]
	if t.batchKeys == nil {
		t.batchKeys, t.batchValues = make([]peerKey, peerBatch), make([]peerValue, peerBatch)
	}
	t.keys, t.values = t.keys[:0], t.values[:0]
	var cursor ebpf.MapBatchCursor
	for range m.MaxEntries()/peerBatch + 2 {
		n, err := m.BatchLookup(&cursor, t.batchKeys, t.batchValues, nil)
		t.keys = append(t.keys, t.batchKeys[:n]...)
		t.values = append(t.values, t.batchValues[:n]...)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil // the end
		}
		if err != nil {
			s.stats.PeersTruncated++
			return fmt.Errorf("read map %s: %w", name, err)
		}
	}
	return nil
}

// report emits what was read and deletes what has ended.
func (s *Set) report(name string, now uint64, h Handler) {
	t, m := &s.peers, s.maps[objSocket][name]
	overflow := name == "peer_overflow"
	for i := range t.keys {
		k, v := &t.keys[i], &t.values[i]
		o, released := t.find(k.Cookie)
		idle := v.Last+uint64(s.cfg.PeerIdle) < now
		if released || idle {
			read := v.Last
			// what came in since it was read is in the value taken out
			if err := take(m, k, v); err != nil {
				continue // deleted already: a map may show a key twice
			}
			if !released && v.Last != read {
				// The peer, or the next socket on its port, spoke just now: who began is
				// still to be known when the answer comes.
				idle = false
				putBack(m, k, v)
			}
		} else if v.Last+peerSlack < t.last {
			continue
		}
		e := &t.event
		s.fillPeer(e, k, v, &o)
		e.Released, e.Idle, e.Overflow = released, idle && !released, overflow
		h.Peer(e)
	}
}

func (s *Set) fillPeer(e *PeerEvent, k *peerKey, v *peerValue, o *socketOwner) {
	*e = PeerEvent{
		Cookie: k.Cookie,
		Key: flows.Key{
			Src: v.LocalAddr, Dst: k.RemoteAddr, SrcPort: v.LocalPort, DstPort: k.RemotePort,
			Proto: flows.Proto(k.Proto), NetNS: o.netns,
		},
		Role:            RoleClient,
		Self:            s.dec.isSelf(&o.owner),
		Opener:          o.opener,
		Owner:           o.owner,
		OpenerAt:        s.dec.clock.Unix(o.openerAt),
		OwnerAt:         s.dec.clock.Unix(o.at),
		OwnerHook:       o.hook,
		Switches:        o.switches,
		Refused:         o.refused,
		First:           s.dec.clock.Unix(v.First),
		Last:            s.dec.clock.Unix(v.Last),
		Sent:            v.TxBytes,
		Received:        v.RxBytes,
		SentPackets:     v.TxPackets,
		ReceivedPackets: v.RxPackets,
	}
	if v.FirstIsIngress != 0 {
		e.Role = RoleServer
	}
}

// putBack undoes take. What was counted meanwhile, in an entry of its own, is added. An
// entry that does not come back begins anew, with whoever speaks next.
func putBack(m *ebpf.Map, k *peerKey, v *peerValue) {
	for range 8 {
		if err := m.Update(k, v, ebpf.UpdateNoExist); !errors.Is(err, ebpf.ErrKeyExist) {
			return
		}
		var since peerValue
		if take(m, k, &since) != nil {
			continue // gone again
		}
		v.TxPackets, v.TxBytes = v.TxPackets+since.TxPackets, v.TxBytes+since.TxBytes
		v.RxPackets, v.RxBytes = v.RxPackets+since.RxPackets, v.RxBytes+since.RxBytes
		v.Last = max(v.Last, since.Last)
	}
}

// take reads an entry and deletes it; in one step where the kernel can (5.14).
func take(m *ebpf.Map, k *peerKey, v *peerValue) error {
	err := m.LookupAndDelete(k, v)
	if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	if err := m.Lookup(k, v); err != nil {
		return err
	}
	return m.Delete(k)
}
