package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gopacket/gopacket/afpacket"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows/packet"
)

// LiveConfig configures an AF_PACKET capture. A zero field means the default.
type LiveConfig struct {
	// Interfaces are names or globs (path.Match) of the interfaces to capture on;
	// empty means all. An interface that appears later and matches is taken up.
	Interfaces []string
	// Snaplen is how much of a frame is copied, in octets. Default 128: headers
	// with VLAN tags and options.
	Snaplen int
	// RingBytes is the size of the ring that the kernel writes to. Default 16 MiB,
	// about 80000 packets; what does not fit is dropped and counted.
	RingBytes int
	// Poll is the longest time a packet waits in the ring and ReadBatch ignores its
	// context. Default 50ms.
	Poll time.Duration
}

// DefaultLiveConfig returns the configuration that the zero value stands for.
func DefaultLiveConfig() LiveConfig {
	return LiveConfig{Snaplen: 128, RingBytes: 16 << 20, Poll: 50 * time.Millisecond}
}

const (
	// liveBlock is the unit the ring is read in. The kernel closes one that has
	// packets after Poll, however few they are: the number of blocks times Poll is how
	// long the probe may get no processor without a loss.
	liveBlock  = 1 << 17
	liveFrame  = 2048 // TPACKET_V3 packs frames, the size is only checked
	vnetHdrLen = 10   // struct virtio_net_hdr
)

// Validate says what is wrong with the configuration.
func (c LiveConfig) Validate() error {
	for _, pattern := range c.Interfaces {
		if _, err := path.Match(pattern, "lo"); err != nil {
			return fmt.Errorf("packet capture: interface pattern %q: %w", pattern, err)
		}
	}
	if c.Snaplen != 0 && (c.Snaplen < 96 || c.Snaplen > 65535) {
		return fmt.Errorf("packet capture: snaplen is %d octets, want 96 to 65535 (0 for the default)", c.Snaplen)
	}
	if c.RingBytes != 0 && (c.RingBytes < liveBlock || c.RingBytes > 1<<30) {
		return fmt.Errorf("packet capture: ring is %d octets, want %d to %d (0 for the default)", c.RingBytes, liveBlock, 1<<30)
	}
	if c.Poll != 0 && (c.Poll < time.Millisecond || c.Poll > 10*time.Second) {
		return fmt.Errorf("packet capture: poll is %v, want 1ms to 10s (0 for the default)", c.Poll)
	}
	return nil
}

func (c LiveConfig) withDefaults() LiveConfig {
	d := DefaultLiveConfig()
	if c.Snaplen == 0 {
		c.Snaplen = d.Snaplen
	}
	if c.RingBytes == 0 {
		c.RingBytes = d.RingBytes
	}
	if c.Poll == 0 {
		c.Poll = d.Poll
	}
	return c
}

// Live captures from the network interfaces of the network namespace it was
// opened in, through one TPACKET_V3 ring for all of them. The loopback interface
// shows each packet twice; the sent copy is left out in the kernel.
//
// The ring is always bound to all interfaces: one bound to a single interface
// fails for good when that goes down. Those not asked for are left out here.
type Live struct {
	config   LiveConfig
	ring     *afpacket.TPacket
	control  int    // socket for interface names; -1 when closed
	arena    []byte // what the last batch points into
	wanted   map[int]wanted
	segments bool // ring headers are preceded by a virtio_net_hdr
	headTo   int  // distance from data to ring header of the last packet, a hint
	stats    liveStats
}

type liveStats struct{ packets, ignored, opaque atomic.Uint64 }

// wanted is whether an interface was asked for. It is looked up again now and
// then, because an index is reused and a name changes.
type wanted struct {
	yes   bool
	until int64 // unix ns of packet time
}

const wantedLife = 10e9 // ns

// OpenLive opens the ring; it needs CAP_NET_RAW. The configuration must be valid.
func OpenLive(c LiveConfig) (*Live, error) {
	c = c.withDefaults()
	if err := checkInterfaces(c.Interfaces); err != nil {
		return nil, err
	}
	l := &Live{config: c, wanted: make(map[int]wanted)}
	options := []any{
		afpacket.OptTPacketVersion(afpacket.TPacketVersion3),
		afpacket.OptBlockSize(liveBlock),
		afpacket.OptNumBlocks(c.RingBytes / liveBlock),
		afpacket.OptFrameSize(liveFrame),
		afpacket.OptBlockTimeout(max(c.Poll, time.Millisecond)),
		afpacket.OptPollTimeout(c.Poll),
	}
	if l.segments = segmentSizesKnown(); l.segments {
		options = append(options, afpacket.OptVNetHdrSize(vnetHdrLen))
	}
	ring, err := afpacket.NewTPacket(options...)
	if err != nil {
		return nil, fmt.Errorf("open AF_PACKET ring of %d octets (needs CAP_NET_RAW and that much memory): %w", c.RingBytes, err)
	}
	if err := setFilter(ring, c.Snaplen); err != nil {
		ring.Close()
		return nil, err
	}
	l.control, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		ring.Close()
		return nil, fmt.Errorf("open socket for interface names: %w", err)
	}
	l.ring = ring
	return l, nil
}

// checkInterfaces refuses a plain name that does not exist; a glob may match later.
func checkInterfaces(names []string) error {
	for _, name := range names {
		if strings.ContainsAny(name, `*?[\`) {
			continue
		}
		if _, err := net.InterfaceByName(name); err != nil {
			return fmt.Errorf("capture on interface %q: %w (see ip link; use a glob for one that comes later)", name, err)
		}
	}
	return nil
}

// segmentSizesKnown says whether the ring may be asked for segment sizes. Before
// Linux 6.2 the kernel drops UDP segmentation packets from a ring that asks
// (virtio_net_hdr has no word for them); there a super-packet counts as one.
func segmentSizesKnown() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	release := unix.ByteSliceToString(u.Release[:])
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(strings.TrimRight(minor, "-+abcdefghijklmnopqrstuvwxyz"))
	return a > 6 || (a == 6 && b >= 2)
}

// setFilter cuts frames to snaplen and leaves out what loopback sends.
func setFilter(ring *afpacket.TPacket, snaplen int) error {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLinkLayerType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ARPHRD_LOOPBACK, SkipTrue: 3},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: uint32(snaplen)},
	})
	if err != nil {
		return fmt.Errorf("assemble capture filter: %w", err)
	}
	if err := ring.SetBPF(program); err != nil {
		return fmt.Errorf("attach capture filter: %w", err)
	}
	return nil
}

// ReadBatch delivers what the ring holds. See Source.
func (l *Live) ReadBatch(ctx context.Context, batch []Packet) (int, error) {
	if need := len(batch) * l.config.Snaplen; len(l.arena) < need {
		l.arena = make([]byte, need)
	}
	n := 0
	for n < len(batch) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		data, ci, err := l.ring.ZeroCopyReadPacketData()
		if errors.Is(err, afpacket.ErrTimeout) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read AF_PACKET ring: %w", err)
		}
		at := ci.Timestamp.UnixNano()
		p := &batch[n]
		*p = Packet{Wire: ci.Length, Time: at, Link: packet.LinkEthernet, Interface: ci.InterfaceIndex}
		if l.take(p, data, l.arena[n*l.config.Snaplen:][:l.config.Snaplen]) {
			n++
		}
		// Of traffic that never pauses, and of which little is asked for, a batch is
		// never full: what is in it has waited long enough.
		if n > 0 && time.Duration(at-batch[0].Time).Abs() > l.config.Poll {
			break
		}
	}
	return n, nil
}

// take completes p, with a copy of its data in room, and says whether it was asked for.
func (l *Live) take(p *Packet, data, room []byte) bool {
	if !l.wants(p) {
		l.stats.ignored.Add(1)
		return false
	}
	data, keep := l.header(p, data)
	if !keep {
		return false
	}
	p.Data = room[:copy(room, data)]
	l.stats.packets.Add(1)
	return true
}

// header completes p from the ring header and returns data without a link-layer
// header that the decoder does not know; keep is false for a second copy.
func (l *Live) header(p *Packet, data []byte) (_ []byte, keep bool) {
	h, distance, ok := ringHeaderOf(data, p.Interface, l.headTo)
	if !ok {
		l.stats.opaque.Add(1)
		return data, true
	}
	l.headTo = distance
	p.Travel = packet.TravelIn
	if h.packetType == unix.PACKET_OUTGOING {
		p.Travel = packet.TravelOut
		if h.hardware == unix.ARPHRD_LOOPBACK {
			return nil, false // came before the filter stood
		}
	}
	if h.vlanValid {
		p.VLAN = h.vlan
		p.Wire += 4 // tp_len is without the tag the device stripped
	}
	if l.segments {
		p.Segment = h.segment
	}
	if h.hardware != unix.ARPHRD_ETHER && h.hardware != unix.ARPHRD_LOOPBACK {
		p.Link = packet.LinkRaw
		data = data[min(h.linkLen, len(data)):]
	}
	return data, true
}

// wants says whether p's interface was asked for.
func (l *Live) wants(p *Packet) bool {
	if len(l.config.Interfaces) == 0 {
		return true
	}
	w, known := l.wanted[p.Interface]
	if known && p.Time < w.until {
		return w.yes
	}
	w = wanted{until: p.Time + wantedLife}
	if name, err := l.interfaceName(p.Interface); err == nil {
		w.yes = matches(l.config.Interfaces, name)
	} else if known {
		w.yes = l.wanted[p.Interface].yes // gone already: its last packets
	}
	l.wanted[p.Interface] = w
	return w.yes
}

// interfaceName asks the kernel in the network namespace of the ring, whatever
// thread this runs on.
func (l *Live) interfaceName(index int) (string, error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	request.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(l.control, unix.SIOCGIFNAME, request); err != nil {
		return "", err
	}
	return request.Name(), nil
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// Stats asks the kernel for what it dropped.
func (l *Live) Stats() SourceStats {
	s := SourceStats{
		Packets: l.stats.packets.Load(),
		Ignored: l.stats.ignored.Load(),
		Opaque:  l.stats.opaque.Load(),
	}
	if _, kernel, err := l.ring.SocketStats(); err == nil {
		s.Dropped = uint64(kernel.Drops())
		s.Freezes = uint64(kernel.QueueFreezes())
	}
	return s
}

// Close gives the ring back.
func (l *Live) Close() error {
	l.ring.Close() // idempotent
	if l.control < 0 {
		return nil
	}
	fd := l.control
	l.control = -1
	return unix.Close(fd)
}
