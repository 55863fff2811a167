package kprobes

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Stats counts every loss of the socket path since Load, and the translations it
// told. In the order of enum stat in bpf/include/stats.h, then what user space
// counts itself.
type Stats struct {
	LostClosed   uint64 // events ring full: ends of connections (their tail since the last snapshot)
	LostListener uint64 // events ring full: a listener's beginning or end, or a connection that waits to be accepted
	LostReleased uint64 // events ring full: ends of datagram sockets
	LostProcess  uint64 // procev ring full: process events
	LostCgroup   uint64 // procev ring full: cgroup events

	NoStorage           uint64 // a socket's storage could not be created (net.core.optmem_max, memory)
	CloseWithoutContext uint64 // TCP sockets that closed without storage: not reported
	OverflowPackets     uint64 // datagrams counted in the catch-all entry of their socket
	OverflowBytes       uint64
	PeerLostPackets     uint64 // datagrams not counted at all
	PeerLostBytes       uint64
	UnparsedPackets     uint64 // datagrams whose headers could not be read
	OwnerBusy           uint64 // owner updates skipped because another CPU wrote it
	NATs                uint64 // translations told
	LostNAT             uint64 // events ring full: translations
	LostDrops           uint64 // dropped packets not counted: too many owners and reasons at once
	LostHandshakes      uint64 // handshakes not followed: too many at once

	ProgramMisses  uint64 // runs the kernel skipped because a program was interrupted by itself
	DecodeErrors   uint64 // records not understood
	IterTruncated  uint64 // iterators that ended with an error
	PeersTruncated uint64 // reads of the peer map that ended early
	DrainLimited   uint64 // Drain calls that left records for the next
}

const kernelStats = 17

// kernel returns the counters in the order of enum stat.
func (s *Stats) kernel() [kernelStats]*uint64 {
	return [kernelStats]*uint64{
		&s.LostClosed, &s.LostListener, &s.LostReleased, &s.LostProcess, &s.LostCgroup,
		&s.NoStorage, &s.CloseWithoutContext, &s.OverflowPackets, &s.OverflowBytes,
		&s.PeerLostPackets, &s.PeerLostBytes, &s.UnparsedPackets, &s.OwnerBusy, &s.NATs, &s.LostNAT, &s.LostDrops, &s.LostHandshakes,
	}
}

// Stats returns the counters as they stand.
func (s *Set) Stats() Stats {
	st := s.stats
	st.DecodeErrors = s.dec.errors
	dst := st.kernel()
	for o := range objects {
		m := s.maps[o]["stats"]
		if m == nil {
			continue
		}
		for i, d := range dst {
			if err := m.Lookup(uint32(i), &s.perCPU); err != nil {
				s.log.Error("read loss counters", "error", err)
				break
			}
			for _, v := range s.perCPU {
				*d += v
			}
		}
	}
	for _, p := range s.programs {
		if ps, err := p.Stats(); err == nil {
			st.ProgramMisses += ps.RecursionMisses
		} else if !errors.Is(err, ebpf.ErrNotSupported) {
			s.log.Debug("read program statistics", "error", fmt.Sprint(err))
		}
	}
	return st
}
