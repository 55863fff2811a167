package kprobes

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
)

// halfOpenGrace is how much later than it is due a SYN-ACK may be sent, ns: timers of
// the kernel's are late on a busy machine.
const halfOpenGrace = 2_000_000_000

// HalfOpenEvent is a handshake that a client began and that the server's kernel gave
// up, after it sent its SYN-ACK at least twice. Its handler gets a reused one.
type HalfOpenEvent struct {
	Time     int64     // unix ns, of the last SYN-ACK
	Listener uint64    // cookie of the listening socket
	Cookie   uint64    // what the connection's would have been
	Key      flows.Key // Src is the server's end
}

type halfOpen struct {
	Listener, Last, Until uint64
	LocalAddr, RemoteAddr [16]uint8
	NetNS                 uint32
	LocalPort, RemotePort uint16
}

type halfOpenTable struct {
	batch[uint64, halfOpen]
	event HalfOpenEvent
}

// readHalfOpen tells h of the handshakes whose next SYN-ACK is overdue: the kernel
// removed the request. Those that succeed are taken out by the kernel side.
func (s *Set) readHalfOpen(h TroubleHandler) error {
	t, m := &s.halfOpen, s.maps[objSocket]["half_open"]
	if s.programs["tcp_retransmit_synack"] == nil {
		return nil
	}
	now, err := clock.BootTime()
	if err != nil {
		return err
	}
	err = t.read(m, func(cookie *uint64, v *halfOpen) {
		if v.Until+halfOpenGrace > now {
			return
		}
		// In one step with the look for success, and not twice.
		if err := m.Delete(cookie); errors.Is(err, ebpf.ErrKeyNotExist) {
			return
		}
		t.event = HalfOpenEvent{
			Time: s.dec.clock.Unix(v.Last), Listener: v.Listener, Cookie: *cookie,
			Key: flows.Key{Src: v.LocalAddr, Dst: v.RemoteAddr, SrcPort: v.LocalPort, DstPort: v.RemotePort, Proto: flows.TCP, NetNS: v.NetNS},
		}
		h.HalfOpen(&t.event)
	})
	if err != nil {
		return fmt.Errorf("read open handshakes: %w", err)
	}
	return nil
}
