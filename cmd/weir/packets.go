package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/capture"
	"github.com/weir-probe/weir/flows/capture/tcx"
	"github.com/weir-probe/weir/sink"
)

// flowHandler takes what a packet path found.
type flowHandler interface {
	Flow(*flows.Record)
	NAT(*flows.NAT)
}

// packetPath is one way to see packets: metered in the kernel, or from AF_PACKET.
type packetPath interface {
	Run(ctx context.Context) error
	// Collect gives h what happened since the last time; between is called now and
	// then in a long pass.
	Collect(now time.Time, h flowHandler, between func()) error
	Drain(h flowHandler) error
	// Settle waits, for a moment, until what was on the wire can be collected: for
	// the end.
	Settle()
	// Self writes the path's row of weir_self and returns what it lost so far.
	Self(s *sink.Self, t time.Time) (lost uint64)
	Status() packetStatus
	Close() error
}

// packetStatus is what doctor and the API show of the packet path.
type packetStatus struct {
	Mode    string             `json:"mode"` // tcx, tc, afpacket or off
	NAT     string             `json:"nat"`
	Devices []tcx.DeviceStatus `json:"devices,omitempty"`
}

// natAvailable is packetStatus.NAT where packets show their conntrack entries.
const natAvailable = "available"

// openPackets attaches the packet path that cfg asks for; auto tries tcx, then
// tc, then AF_PACKET.
func openPackets(ctx context.Context, cfg *Config, log *slog.Logger) (packetPath, error) {
	if cfg.Packets == "off" {
		return noPackets{}, nil
	}
	if cfg.Packets == "afpacket" {
		return openLive(cfg)
	}
	m, err := tcx.New(tcx.Config{Mode: tcx.Mode(cfg.Packets), Interfaces: cfg.Interfaces, MaxFlows: uint32(cfg.MaxFlows), Log: log})
	if err != nil {
		return nil, err
	}
	err = m.Attach(ctx)
	if err == nil {
		return kernelPath{m}, nil
	}
	m.Close()
	if cfg.Packets != "auto" {
		return nil, fmt.Errorf("packet path %s: %w (try --packets auto, or --packets off for sockets only)", cfg.Packets, err)
	}
	log.Warn("packets are not metered in the kernel; reading them from AF_PACKET, which costs more", "err", err)
	p, liveErr := openLive(cfg)
	if liveErr != nil {
		log.Error("no packet path: rows have no wire bytes", "tcx", err, "afpacket", liveErr)
		return noPackets{}, nil
	}
	return p, nil
}

// kernelPath is the in-kernel meter.
type kernelPath struct{ m *tcx.Meter }

func (p kernelPath) Run(ctx context.Context) error { return p.m.Run(ctx) }
func (p kernelPath) Close() error                  { return p.m.Close() }
func (p kernelPath) Settle()                       {}
func (p kernelPath) Drain(h flowHandler) error     { return p.m.Drain(h) }
func (p kernelPath) Collect(now time.Time, h flowHandler, between func()) error {
	return p.m.Collect(now, h, between)
}

func (p kernelPath) Status() packetStatus {
	st := p.m.Status()
	s := packetStatus{Mode: "tcx", NAT: natAvailable, Devices: st.Devices}
	if !st.NAT.Available {
		s.NAT = "unavailable: " + st.NAT.Reason
	}
	for _, d := range st.Devices {
		if d.Mode == tcx.ModeTC {
			s.Mode = "tc"
		}
	}
	return s
}

func (p kernelPath) Self(s *sink.Self, t time.Time) uint64 {
	st, err := p.m.Stats()
	if err != nil {
		return 0
	}
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageFlows, n, v) }
	l := &st.Total
	lost := l.Overflow.Packets + st.NATsLost + st.InstancesOrphaned + st.BadEvents
	s.Stage(t, sink.StageFlows,
		m(sink.SelfSeen, st.Records), m(sink.SelfRecords, st.Records), m(sink.SelfFlows, st.FlowsSeen), m(sink.SelfLost, lost),
		m(sink.SelfLostMapFull, l.Overflow.Packets), m(sink.SelfLostRingFull, st.NATsLost+st.InstancesOrphaned),
		m(sink.SelfLostDecode, l.Malformed.Packets+st.BadEvents),
		m(sink.SelfPackets, l.Seen.Packets), m(sink.SelfBytes, l.Seen.Octets),
		m(sink.SelfFlowBytes, l.Flow.Octets), m(sink.SelfDuplicateBytes, l.Dup.Octets),
		m(sink.SelfNonFlowBytes, l.NonFlow.Octets+l.FragUnknown.Octets),
		m(sink.SelfFragments, l.FragUnknown.Packets), m(sink.SelfFragmentBytes, l.FragUnknown.Octets),
		m(sink.SelfLostPackets, l.Overflow.Packets+l.Malformed.Packets), m(sink.SelfLostBytes, l.Overflow.Octets+l.Malformed.Octets),
		m(sink.SelfDevicePackets, st.Carried.Packets), m(sink.SelfDeviceBytes, st.Carried.Octets), sink.SelfDevices.Is(st.Devices),
		m(sink.SelfAttachGaps, st.AttachGaps), m(sink.SelfAttachGapPacket, st.Gap.Packets), m(sink.SelfAttachGapBytes, st.Gap.Octets),
		m(sink.SelfTakeovers, st.Takeovers), m(sink.SelfEvicted, st.Evicted),
		m(sink.SelfReused, st.Reused), m(sink.SelfReuseMerged, st.ReusedMerged), m(sink.SelfNATs, st.NATs),
		sink.SelfMapEntries.Is(st.Flows), sink.SelfMapCapacity.Is(st.Capacity))
	return lost
}

// livePath meters AF_PACKET in user space.
type livePath struct{ m *capture.Metered }

func openLive(cfg *Config) (packetPath, error) {
	src, err := capture.OpenLive(capture.LiveConfig{Interfaces: cfg.Interfaces})
	if err != nil {
		return nil, fmt.Errorf("AF_PACKET: %w", err)
	}
	return livePath{capture.NewMetered(src, capture.MeteredConfig{Meter: flows.MeterConfig{MaxFlows: cfg.MaxFlows}})}, nil
}

func (p livePath) Run(ctx context.Context) error {
	if err := p.m.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p livePath) Close() error { return p.m.Close() }

// Settle: packets wait in a block of the ring for up to Poll before they are read.
func (p livePath) Settle() { time.Sleep(2 * capture.DefaultLiveConfig().Poll) }

func (p livePath) Drain(flowHandler) error { return nil }
func (p livePath) Status() packetStatus {
	return packetStatus{Mode: "afpacket", NAT: "unavailable: packets do not show it"}
}

func (p livePath) Collect(now time.Time, h flowHandler, _ func()) error {
	return p.m.Collect(now.UnixNano(), h)
}

func (p livePath) Self(s *sink.Self, t time.Time) uint64 {
	st := p.m.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageFlows, n, v) }
	lost := st.Source.Dropped + st.Meter.LostPackets
	unreadPackets := st.MalformedPackets + st.TruncatedPackets + st.UnsupportedPackets
	unread := st.MalformedOctets + st.TruncatedOctets + st.UnsupportedOctets
	nonFlow := st.NonIPOctets + st.Meter.UnknownFragmentOctets
	s.Stage(t, sink.StageFlows,
		m(sink.SelfSeen, st.Packets), m(sink.SelfRecords, st.Meter.Records),
		m(sink.SelfDevicePackets, st.Packets), m(sink.SelfDeviceBytes, st.Octets),
		m(sink.SelfPackets, st.Meter.Packets+st.NonIPPackets+st.LoopbackPackets+unreadPackets),
		m(sink.SelfBytes, st.Meter.Octets+st.NonIPOctets+st.LoopbackOctets+unread),
		m(sink.SelfFlows, st.Meter.FlowsCreated), m(sink.SelfLost, lost), m(sink.SelfLostDropped, st.Source.Dropped),
		m(sink.SelfLostDecode, unreadPackets),
		m(sink.SelfFlowBytes, st.Meter.Octets-st.Meter.DuplicateOctets-st.Meter.UnknownFragmentOctets-st.Meter.LostOctets),
		m(sink.SelfDuplicateBytes, st.Meter.DuplicateOctets+st.LoopbackOctets),
		m(sink.SelfNonFlowBytes, nonFlow), m(sink.SelfLostBytes, st.Meter.LostOctets+unread),
		m(sink.SelfFragments, st.Meter.UnknownFragmentPackets), m(sink.SelfFragmentBytes, st.Meter.UnknownFragmentOctets),
		m(sink.SelfEvicted, st.Meter.FlowsEvicted))
	return lost
}

// noPackets is a probe that looks at sockets only.
type noPackets struct{}

func (noPackets) Run(ctx context.Context) error                { <-ctx.Done(); return nil }
func (noPackets) Collect(time.Time, flowHandler, func()) error { return nil }
func (noPackets) Settle()                                      {}
func (noPackets) Drain(flowHandler) error                      { return nil }
func (noPackets) Self(*sink.Self, time.Time) uint64            { return 0 }
func (noPackets) Close() error                                 { return nil }
func (noPackets) Status() packetStatus                         { return packetStatus{Mode: "off", NAT: "off"} }
