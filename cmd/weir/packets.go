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
	s := packetStatus{Mode: "tcx", NAT: "available", Devices: st.Devices}
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
	lost := st.Overflow.Packets + st.NATsLost + st.InstancesOrphaned + st.BadEvents
	s.Stage(t, sink.StageFlows,
		m(sink.SelfSeen, st.Records), m(sink.SelfRecords, st.Records), m(sink.SelfFlows, st.FlowsSeen), m(sink.SelfLost, lost),
		m(sink.SelfLostMapFull, st.Overflow.Packets), m(sink.SelfLostRingFull, st.NATsLost+st.InstancesOrphaned),
		m(sink.SelfLostDecode, st.Malformed.Packets+st.BadEvents), m(sink.SelfNonFlowBytes, st.NonFlow.Octets),
		m(sink.SelfFragments, st.FragUnknown.Packets), m(sink.SelfEvicted, st.Evicted),
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
	s.Stage(t, sink.StageFlows,
		m(sink.SelfSeen, st.Packets), m(sink.SelfPackets, st.Packets), m(sink.SelfBytes, st.Octets), m(sink.SelfRecords, st.Meter.Records),
		m(sink.SelfFlows, st.Meter.FlowsCreated), m(sink.SelfLost, lost), m(sink.SelfLostDropped, st.Source.Dropped),
		m(sink.SelfLostDecode, st.MalformedPackets+st.TruncatedPackets+st.UnsupportedPackets),
		m(sink.SelfNonFlowBytes, st.NonIPOctets), m(sink.SelfFragments, st.Meter.UnknownFragmentPackets),
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
