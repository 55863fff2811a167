package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/packet"
)

// Handler takes what a packet path found out. Its arguments are reused after
// the call returns.
type Handler interface {
	Flow(*flows.Record)
	NAT(*flows.NAT)
}

// MeteredConfig configures a Metered. A zero field means the default.
type MeteredConfig struct {
	Meter flows.MeterConfig
	// Batch is how many packets are taken from the source at once. Default 256.
	Batch int
	// NetNS is the inode of the network namespace the source captures in, put into
	// every Key. Default 0: not known.
	NetNS uint32
	// Payload, if set, is given each packet that was counted to a flow and what was
	// captured of its payload, by the goroutine that reads; both are valid during the
	// call only.
	Payload func(p *flows.Packet, data []byte)
}

// Validate says what is wrong with the configuration.
func (c MeteredConfig) Validate() error {
	if c.Batch < 0 || c.Batch > 1<<16 {
		return fmt.Errorf("packet path: batch is %d packets, want 1 to %d (0 for the default)", c.Batch, 1<<16)
	}
	return c.Meter.Validate()
}

// Metered meters a Source in user space: Run reads and counts, Collect takes
// the records out and may be called from another goroutine. It gives what the
// in-kernel meter gives, except socket cookies and NAT, which packets do not show.
type Metered struct {
	source Source
	netns  uint32
	tell   func(*flows.Packet, []byte)
	batch  []Packet
	info   packet.Info

	mu    sync.Mutex // guards what follows: held for one batch, or for one Collect
	meter *flows.Meter
	stats MeteredStats
}

// MeteredStats counts what Metered did. Of Packets, those given to the meter are
// in Meter.Packets (a GSO frame as its segments there), the others in one of the
// five causes below.
type MeteredStats struct {
	Source          SourceStats
	Meter           flows.MeterStats
	Packets, Octets uint64 // read from the source, octets on the wire as recorded
	// NonIP is traffic that is no flow (ARP, LLDP, …).
	NonIPPackets, NonIPOctets uint64
	// Truncated frames were captured too short for their headers.
	TruncatedPackets, TruncatedOctets     uint64
	MalformedPackets, MalformedOctets     uint64
	UnsupportedPackets, UnsupportedOctets uint64 // link type
	// Loopback is the sent copy of packets that the loopback interface also shows
	// as received.
	LoopbackPackets, LoopbackOctets uint64
}

// NewMetered returns a Metered that owns source; the configuration must be valid.
func NewMetered(source Source, c MeteredConfig) *Metered {
	if c.Batch == 0 {
		c.Batch = 256
	}
	return &Metered{
		source: source,
		netns:  c.NetNS,
		tell:   c.Payload,
		batch:  make([]Packet, c.Batch),
		meter:  flows.NewMeter(c.Meter),
	}
}

// Run reads and meters until the source ends (nil), fails or ctx is done (its
// error). Everything read before is counted.
func (m *Metered) Run(ctx context.Context) error {
	for {
		n, err := m.source.ReadBatch(ctx, m.batch)
		m.mu.Lock()
		for i := range m.batch[:n] {
			m.observe(&m.batch[i])
		}
		m.mu.Unlock()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Collect gives h the records since the last call (flows.Meter.Collect) as of
// now in unix ns. It must not be called from h. Packets wait in the source
// meanwhile.
func (m *Metered) Collect(now int64, h Handler) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.meter.Collect(now, h.Flow)
	return nil
}

// Flush gives h what is left of all flows and forgets them: for shutdown and
// the end of a file.
func (m *Metered) Flush(h Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.meter.Flush(h.Flow)
}

// Replay meters a file by its own clock: it calls Collect and then tick at each
// multiple of interval (since the unix epoch) that the packets pass, and at the
// end Flush and tick for the interval begun. A gap without packets ticks twice:
// for the interval it began in, and at its end, where flows became idle. It returns what stopped the source, after everything read before
// has been delivered: nil at the end of the file.
func (m *Metered) Replay(ctx context.Context, interval time.Duration, h Handler, tick func(now int64) error) error {
	var boundary int64
	for {
		n, err := m.source.ReadBatch(ctx, m.batch)
		for i := range m.batch[:n] {
			p := &m.batch[i]
			if boundary == 0 {
				boundary = nextMultiple(p.Time, int64(interval))
			}
			for p.Time >= boundary {
				if err := m.tick(boundary, h, tick); err != nil {
					return err
				}
				last := nextMultiple(p.Time, int64(interval)) - int64(interval)
				boundary = max(boundary+int64(interval), last)
			}
			m.mu.Lock()
			m.observe(p)
			m.mu.Unlock()
		}
		if err == nil {
			continue
		}
		if boundary != 0 {
			m.Flush(h)
			if err := tick(boundary); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

func (m *Metered) tick(now int64, h Handler, tick func(int64) error) error {
	if err := m.Collect(now, h); err != nil {
		return err
	}
	return tick(now)
}

// nextMultiple returns the first multiple of interval after t.
func nextMultiple(t, interval int64) int64 {
	return t - t%interval + interval
}

// observe decodes and counts one frame; m.mu is held.
func (m *Metered) observe(p *Packet) {
	s := &m.stats
	wire := uint64(p.Wire)
	s.Packets++
	s.Octets += wire
	if err := m.info.Decode(p.Data, p.Link); err != nil {
		packets, octets := &s.MalformedPackets, &s.MalformedOctets
		switch err {
		case packet.ErrNonIP:
			packets, octets = &s.NonIPPackets, &s.NonIPOctets
		case packet.ErrTruncated:
			packets, octets = &s.TruncatedPackets, &s.TruncatedOctets
		case packet.ErrLinkType:
			packets, octets = &s.UnsupportedPackets, &s.UnsupportedOctets
		}
		*packets++
		*octets += wire
		return
	}
	if p.Travel == packet.TravelUnknown {
		p.Travel = m.info.Travel
	}
	if m.info.Loopback && p.Travel == packet.TravelOut {
		s.LoopbackPackets++
		s.LoopbackOctets += wire
		return
	}
	m.info.Account(p.Time, p.Wire, p.Segment)
	m.info.Key.NetNS = m.netns
	m.info.Point = point(p, m.info.Interface)
	if m.meter.Observe(&m.info.Packet) && m.tell != nil {
		m.tell(&m.info.Packet, m.info.PayloadOf(p.Data))
	}
}

// point numbers observation points: the interface in the file or of the host,
// the interface a cooked capture names, and the direction of travel.
func point(p *Packet, cooked uint32) uint64 {
	return 1<<63 | uint64(uint32(p.Interface)&0x1fffff)<<36 | uint64(cooked)<<4 | uint64(p.Travel)
}

// Stats may be called from any goroutine, but not from a Handler.
func (m *Metered) Stats() MeteredStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Meter = m.meter.Stats()
	s.Source = m.source.Stats()
	return s
}

// Close closes the source; Run must have returned.
func (m *Metered) Close() error { return m.source.Close() }
