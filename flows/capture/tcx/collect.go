package tcx

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
)

// maxEvict bounds the deletes of one Collect (each a system call of some µs);
// what is left over waits for the next. It is half of the table's default size,
// so that a host whose flows are all short can fill no table interval by interval.
const maxEvict = 65536

// collector is the part of a Meter that one goroutine owns: it turns the
// kernel's ever-growing counters into deltas.
type collector struct {
	cfg    *Config
	table  *ebpf.Map
	events *ringbuf.Reader
	clock  clock.Clock
	flows  states
	self   uint32 // netns inode, given to flows on lo

	keys    []flowKey
	vals    []flowVal
	expired []instance
	// finished are the instances whose end was drained while a Collect was
	// reading: what the batch in hand still shows of them is stale.
	finished map[flows.Key]uint64

	raw   ringbuf.Record
	ended flowEnded
	natEv flowNat
	rec   flows.Record
	nat   flows.NAT
	count collectorStats
}

type instance struct {
	key     flowKey
	startNs uint64
	reason  flows.EndReason
}

func newCollector(table *ebpf.Map, events *ringbuf.Reader, cfg *Config) collector {
	events.SetDeadline(time.Unix(1, 0)) // never block: take what is there
	return collector{
		cfg:      cfg,
		table:    table,
		events:   events,
		flows:    newStates(),
		keys:     make([]flowKey, batchFlows),
		vals:     make([]flowVal, batchFlows),
		finished: make(map[flows.Key]uint64),
	}
}

// collect is Meter.Collect.
func (c *collector) collect(now time.Time, h Handler, between func()) error {
	if err := c.syncDrain(h); err != nil {
		return err
	}
	clear(c.finished)
	c.expired = c.expired[:0]
	boot := c.clock.Boot(now.UnixNano())
	var cursor ebpf.MapBatchCursor
	for {
		n, err := c.table.BatchLookup(&cursor, c.keys, c.vals, nil)
		done := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !done {
			return fmt.Errorf("read flow_table: %w", err)
		}
		for i := range n {
			if err := c.visit(&c.keys[i], &c.vals[i], boot, h); err != nil {
				return err
			}
		}
		if between != nil {
			between()
		}
		if done {
			break
		}
	}
	if err := c.evict(h, between); err != nil {
		return err
	}
	c.count.flows = uint64(c.flows.len())
	c.count.collects++
	return nil
}

// visit looks at one entry of the table.
func (c *collector) visit(k *flowKey, v *flowVal, boot int64, h Handler) error {
	key := canonical(k, v)
	st := c.flows.get(key)
	if st != nil && st.startNs != v.StartNs {
		// The port pair was reused since the last drain; the kernel wrote the
		// end of the old instance before it made the new one.
		if err := c.drain(h); err != nil {
			return err
		}
		if st = c.flows.get(key); st != nil {
			c.orphan(key)
			st = nil
		}
	}
	if st == nil && len(c.finished) > 0 {
		if start, ok := c.finished[key]; ok && v.StartNs <= start {
			return nil
		}
	}
	if reason := c.expiry(v, key.Proto, boot); reason != flows.EndNone {
		if len(c.expired) < maxEvict {
			c.expired = append(c.expired, instance{*k, v.StartNs, reason})
			return nil
		}
		c.count.evictDeferred++
	}
	if st == nil {
		st = c.flows.add(key)
		st.startNs, st.start = v.StartNs, c.clock.Unix(v.StartNs)
		c.count.seen++
	}
	c.report(key, st, v, flows.EndNone, h)
	return nil
}

// canonical returns the key in the order of flows.Key.Canonical, which the
// kernel keeps too; were it ever to differ, the value is turned with the key.
func canonical(k *flowKey, v *flowVal) flows.Key {
	key, dir := k.key().Canonical()
	if dir == flows.Reverse {
		v.Dir[0], v.Dir[1] = v.Dir[1], v.Dir[0]
		v.First ^= 1
	}
	return key
}

// expiry says why an entry is to be deleted, EndNone when it stays.
func (c *collector) expiry(v *flowVal, proto flows.Proto, boot int64) flows.EndReason {
	idle := time.Duration(boot - int64(v.last()))
	switch {
	case idle < min(c.cfg.Linger, c.cfg.OtherIdle, c.cfg.TCPIdle):
		return flows.EndNone
	case proto == flows.TCP && v.ended():
		if idle >= c.cfg.Linger {
			return flows.EndOfFlow
		}
	case proto == flows.TCP && v.Dir[0].Packets != 0 && v.Dir[1].Packets != 0:
		if idle >= c.cfg.TCPIdle {
			return flows.EndIdle
		}
	case idle >= c.cfg.OtherIdle:
		return flows.EndIdle
	}
	return flows.EndNone
}

// evict deletes the expired entries and reports what they held at that moment,
// which may be more than the batch showed: nothing in between is lost.
func (c *collector) evict(h Handler, between func()) error {
	for i := range c.expired {
		if i%1024 == 1023 && between != nil {
			between()
		}
		e := &c.expired[i]
		v, err := c.take(&e.key)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from flow_table: %w", err)
		}
		if err == nil && v.StartNs == e.startNs {
			c.finish(&e.key, v, e.reason, h)
			c.count.evicted++
			continue
		}
		// Reused in the meantime: the end of the old instance is in the ring.
		if derr := c.drain(h); derr != nil {
			return derr
		}
		if c.flows.get(e.key.key()) != nil {
			c.orphan(e.key.key())
		}
		if err == nil {
			// The entry just deleted was a new connection's first packets; they
			// are reported, and the next packet opens another instance.
			c.finish(&e.key, v, flows.EndActive, h)
			c.count.cut++
		}
	}
	return nil
}

// take removes an entry and returns its last value. Linux 5.14 does both in one
// step; before that a packet between the two is lost from an entry that had
// none for its whole timeout.
func (c *collector) take(k *flowKey) (*flowVal, error) {
	v := &c.vals[0]
	err := c.table.LookupAndDelete(k, v)
	if err == nil || !errors.Is(err, ebpf.ErrNotSupported) {
		return v, err
	}
	if err := c.table.Lookup(k, v); err != nil {
		return v, err
	}
	return v, c.table.Delete(k)
}

// finish reports the last values of an instance and forgets it.
func (c *collector) finish(k *flowKey, v *flowVal, reason flows.EndReason, h Handler) {
	key := canonical(k, v)
	st := c.flows.get(key)
	if st == nil {
		st = &flowState{startNs: v.StartNs, start: c.clock.Unix(v.StartNs)}
		c.count.seen++
	}
	c.report(key, st, v, reason, h)
	c.flows.remove(key)
}

// orphan forgets an instance whose last values never came. That takes an event
// lost by the kernel, which it does not do; it is counted to prove it.
func (c *collector) orphan(key flows.Key) {
	c.count.orphaned++
	c.flows.remove(key)
}

// report hands out the difference between v and what st says was reported.
func (c *collector) report(key flows.Key, st *flowState, v *flowVal, reason flows.EndReason, h Handler) {
	r := &c.rec
	changed := reason != flows.EndNone
	for i := range v.Dir {
		d, was := &v.Dir[i], &st.dir[i]
		if d.Packets != was.packets {
			changed = true
		}
		flags := d.flags()
		r.Dir[i] = flows.Counters{
			Packets:     d.Packets - was.packets,
			Octets:      d.Octets - was.octets,
			Payload:     d.Payload - was.payload,
			ZeroWindows: uint64(d.ZeroWindows - was.zeroWindows),
			Flags:       flags &^ was.flags,
		}
		*was = dirState{d.Packets, d.Octets, d.Payload, d.ZeroWindows, flags}
		r.Cookie[i] = d.Cookie
	}
	if !changed {
		return
	}
	r.Key = key
	if v.Loopback != 0 {
		r.Key.NetNS = c.self // lo is in one namespace only; other devices may lead into another
	}
	r.Start = st.start
	r.End = c.clock.Unix(v.last())
	r.SynAck = v.synACK()
	r.Initiator = v.initiator(key.Proto)
	r.EndReason = reason
	c.count.records++
	h.Flow(r)
}

// syncDrain is Meter.Drain with the clocks read again.
func (c *collector) syncDrain(h Handler) error {
	if err := c.clock.Refresh(); err != nil {
		return fmt.Errorf("read the clocks: %w", err)
	}
	return c.drain(h)
}

func (c *collector) drain(h Handler) error {
	if c.events.AvailableBytes() == 0 {
		return nil
	}
	for {
		err := c.events.ReadInto(&c.raw)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read flow_events: %w", err)
		}
		c.event(c.raw.RawSample, h)
	}
}

func (c *collector) event(raw []byte, h Handler) {
	switch {
	case len(raw) >= int(unsafe.Sizeof(c.ended)) && decode(&c.ended, raw) && c.ended.Head.Type == eventEnded:
		key := c.ended.Key.key()
		if st := c.flows.get(key); st != nil && st.startNs != c.ended.Val.StartNs {
			c.orphan(key)
		}
		c.finished[key] = c.ended.Val.StartNs
		c.finish(&c.ended.Key, &c.ended.Val, flows.EndOfFlow, h)
	case len(raw) >= int(unsafe.Sizeof(c.natEv)) && decode(&c.natEv, raw) && c.natEv.Head.Type == eventNAT:
		c.nat = flows.NAT{Time: c.clock.Unix(c.natEv.Head.Ns), Orig: c.natEv.Orig.key(c.self), Reply: c.natEv.Reply.key(c.self)}
		c.count.nats++
		h.NAT(&c.nat)
	default:
		c.count.badEvents++
	}
}

// decode copies a record of the ring, which has the layout of T in this machine.
func decode[T flowEnded | flowNat](to *T, raw []byte) bool {
	size := int(unsafe.Sizeof(*to))
	return copy(unsafe.Slice((*byte)(unsafe.Pointer(to)), size), raw) == size
}
