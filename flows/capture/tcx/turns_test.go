package tcx

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

// Sockets that share a port and a peer and take turns (SO_REUSEPORT) do not make
// the kernel write an instance per datagram for ever: from some point on they
// are counted together, and no octet is lost.
func TestSocketsTakeTurns(t *testing.T) {
	n := newNS(t)
	m := n.meter(t, Config{})
	const turns = 3000
	n.do(t, func() error {
		peer, err := net.ListenPacket("udp", "127.0.0.1:7000")
		if err != nil {
			return err
		}
		defer peer.Close()
		shared := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), err)
		}}
		var from [3]net.PacketConn
		for i := range from {
			if from[i], err = shared.ListenPacket(context.Background(), "udp", "127.0.0.1:7001"); err != nil {
				return err
			}
			defer from[i].Close()
		}
		for i := range turns {
			if _, err := from[i%len(from)].WriteTo(make([]byte, 10), peer.LocalAddr()); err != nil {
				return err
			}
		}
		return nil
	})
	var s sink
	collect(t, m, &s)
	got := s.total(port(7000))
	st, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if sent := got[flows.Forward].Payload + got[flows.Reverse].Payload; sent != 10*turns {
		t.Errorf("%d octets of %d", sent, 10*turns)
	}
	// A machine that stops for a millisecond lengthens the series.
	if st.Reused < 100 || st.Reused > turns*9/10 || st.ReusedMerged == 0 || st.InstancesOrphaned != 0 {
		t.Errorf("%d instances for %d turns: %+v", st.Reused, turns, st)
	}
}
