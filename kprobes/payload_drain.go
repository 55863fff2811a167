package kprobes

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/weir-probe/weir/flows"
)

// maxPayloadOctets is the largest class of records (L7_LARGE).
const maxPayloadOctets = 4096

// PayloadWant is how much of a socket's payload is of interest.
type PayloadWant uint8

const (
	PayloadFull  PayloadWant = iota // the beginning of each turn, as it is for every socket at first
	PayloadTurns                    // that there was a turn, and when: what is in it is opaque
	PayloadOff                      // nothing
	// As PayloadFull, but of whole exchanges as many as there is time for
	// (Config.PayloadRate), the rest counted: the socket receives the requests, or sends
	// them.
	PayloadSampleIn
	PayloadSampleOut
)

// PayloadStats counts what the payload programs did since Load. In the order of
// enum l7_stat.
type PayloadStats struct {
	Records    uint64 // told, turns without data included
	Copied     uint64 // octets
	Lost       uint64 // records that found the ring full
	LostOctets uint64
	NoStorage  uint64 // packets of sockets for which no storage could be had
	Unparsed   uint64 // packets whose headers could not be read
	Skipped    uint64 // exchanges that were only counted
	WantErrors uint64 // SetPayload calls that failed
}

const payloadStats = 7

func (s *PayloadStats) kernel() [payloadStats]*uint64 {
	return [payloadStats]*uint64{&s.Records, &s.Copied, &s.Lost, &s.LostOctets, &s.NoStorage, &s.Unparsed, &s.Skipped}
}

func (s *Set) openPayload() error {
	m := s.maps[objPayload]["payload"]
	if m == nil {
		return nil
	}
	r, err := ringbuf.NewReader(m)
	if err != nil {
		return fmt.Errorf("map ring buffer of payload: %w", err)
	}
	r.SetDeadline(longAgo)
	s.payload = r
	return nil
}

// payloadLimit bounds the records that one Drain takes from the payload ring: some
// milliseconds of parsing, after which sockets and processes are looked at again.
const payloadLimit = 1 << 14

// drainPayload hands h the payload there is, if it is a PayloadHandler; without one
// it is thrown away. fresh says that the clock was read in this Drain.
func (s *Set) drainPayload(h Handler, fresh bool) (int, error) {
	if s.payload == nil || s.payload.AvailableBytes() == 0 {
		return 0, nil
	}
	if !fresh {
		if err := s.dec.clock.Refresh(); err != nil {
			return 0, err
		}
	}
	for n := range payloadLimit {
		if err := s.payload.ReadInto(&s.rec); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return n, nil
			}
			return n, fmt.Errorf("drain payload: %w", err)
		}
		s.dec.next(s.rec.RawSample, h)
	}
	return payloadLimit, nil
}

// payload decodes a record of payload. The record may be longer than its data: the
// kernel hands out constant sizes.
func (d *decoder) payload(b []byte, h Handler) bool {
	w, e := &d.wireLoad, &d.load
	if !load(w, b) || int(w.DataLen) > len(b)-wirePayloadSize {
		return false
	}
	p, ok := h.(PayloadHandler)
	if !ok {
		return true
	}
	*e = PayloadEvent{
		Time: d.clock.Unix(w.Time), Cookie: w.Cookie,
		Key: flows.Key{
			Src: w.LocalAddr, Dst: w.RemoteAddr, SrcPort: w.LocalPort, DstPort: w.RemotePort,
			Proto: flows.Proto(w.Proto), NetNS: w.NetNS,
		},
		Role: Role(w.Role), Self: w.OwnerTGID != 0 && ProcessID{PID: w.OwnerTGID, Start: w.OwnerStart} == d.self,
		Out: w.Flags&payloadOut != 0, Turn: w.Flags&payloadTurn != 0, Plain: w.Flags&payloadPlain != 0,
		Seq: w.Seq, Len: w.PayloadLen, Data: b[wirePayloadSize : wirePayloadSize+int(w.DataLen)],
	}
	if e.Turn && w.PrevOctets != 0 {
		e.PrevFirst, e.PrevLast = d.clock.Unix(w.PrevFirst), d.clock.Unix(w.PrevLast)
		e.PrevOctets, e.PrevNextSeq = w.PrevOctets, w.PrevNext
	}
	e.Skipped, e.Pauses, e.Resumes = w.Skipped, w.Flags&payloadPause != 0, w.Flags&payloadResume != 0
	e.Ends = w.Flags&payloadEnd != 0
	p.Payload(e)
	return true
}

const (
	payloadOut    = 1
	payloadTurn   = 2
	payloadPause  = 4
	payloadResume = 8
	payloadEnd    = 32
	payloadPlain  = 16
)

// SetPayload says how much of a TCP socket's payload is of interest from its next
// turn on. The kernel remembers it for the 65 536 sockets last spoken of.
func (s *Set) SetPayload(cookie uint64, want PayloadWant) error {
	m := s.maps[objPayload]["l7_wants"]
	if m == nil {
		return nil
	}
	if err := m.Update(cookie, uint8(want), ebpf.UpdateAny); err != nil {
		s.payloadStats.WantErrors++
		return fmt.Errorf("say what is wanted of socket %d: %w", cookie, err)
	}
	return nil
}

// PayloadStats returns the counters as they stand; zero without payload.
func (s *Set) PayloadStats() PayloadStats {
	st := s.payloadStats
	m := s.maps[objPayload]["l7_stats"]
	if m == nil {
		return st
	}
	for i, d := range st.kernel() {
		if err := m.Lookup(uint32(i), &s.perCPU); err != nil {
			s.log.Error("read counters of payload", "error", err)
			break
		}
		for _, v := range s.perCPU {
			*d += v
		}
	}
	return st
}
