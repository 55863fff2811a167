// Package probetest is a scripted source of socket-path events for the tests of
// other packages: a Script is written once, with the numbers that matter to the
// test, and played onto a kprobes.Handler the way a kprobes.Set would.
package probetest

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Script is a sequence of events. The zero value is ready to use; methods
// return the Script so that calls chain.
type Script struct {
	steps []func(kprobes.Handler)
}

// Socket appends a socket event.
func (s *Script) Socket(e kprobes.SocketEvent) *Script {
	return s.add(func(h kprobes.Handler) { c := e; h.Socket(&c) })
}

// Peer appends a datagram event.
func (s *Script) Peer(e kprobes.PeerEvent) *Script {
	return s.add(func(h kprobes.Handler) { c := e; h.Peer(&c) })
}

// Process appends a process event.
func (s *Script) Process(e kprobes.ProcessEvent) *Script {
	return s.add(func(h kprobes.Handler) { c := e; h.Process(&c) })
}

// Cgroup appends a cgroup event.
func (s *Script) Cgroup(e kprobes.CgroupEvent) *Script {
	return s.add(func(h kprobes.Handler) { c := e; h.Cgroup(&c) })
}

// NAT appends a translation.
func (s *Script) NAT(n flows.NAT) *Script {
	return s.add(func(h kprobes.Handler) { c := n; h.NAT(&c) })
}

// Connection appends what is seen of one TCP connection with both ends on this
// host: the closing event of the client, then of the server. The client's end
// is given; the server's mirrors it, with its own cookie and owner.
func (s *Script) Connection(client kprobes.SocketEvent, serverCookie uint64, server kprobes.Owner) *Script {
	client.Kind, client.Role = kprobes.SocketClosed, kprobes.RoleClient
	other := client
	other.Role = kprobes.RoleServer
	other.Cookie = serverCookie
	other.Key = client.Key.Reverse()
	other.Opener, other.Owner = server, server
	other.Sent, other.Received = client.Received, client.Sent
	other.SegsOut, other.SegsIn = client.SegsIn, client.SegsOut
	other.SndBase, other.RcvBase = client.RcvBase, client.SndBase
	other.FinReceived, other.FinAcked = client.FinAcked, client.FinReceived
	return s.Socket(client).Socket(other)
}

// Play hands h every event in order.
func (s *Script) Play(h kprobes.Handler) {
	for _, step := range s.steps {
		step(h)
	}
}

func (s *Script) add(step func(kprobes.Handler)) *Script {
	s.steps = append(s.steps, step)
	return s
}

// Owner is a process that did I/O on a socket.
func Owner(pid uint32, start uint64, comm string, cgroupV2 uint64) kprobes.Owner {
	o := kprobes.Owner{ProcessID: kprobes.ProcessID{PID: pid, Start: start}, CgroupV2: cgroupV2, How: kprobes.OwnerIO}
	copy(o.Comm[:len(o.Comm)-1], comm)
	return o
}

// Key is a TCP 5-tuple between two addresses given as netip would print them.
func Key(src, dst flows.Addr, srcPort, dstPort uint16, netNS uint32) flows.Key {
	return flows.Key{Src: src, Dst: dst, SrcPort: srcPort, DstPort: dstPort, Proto: flows.TCP, NetNS: netNS}
}
