package capture

import (
	"context"

	"github.com/weir-probe/weir/flows/packet"
)

// Packet is one captured frame.
type Packet struct {
	// Data is the captured part, valid until the next ReadBatch.
	Data []byte
	// Wire is the length of the frame as the capture recorded it, in octets; at
	// least len(Data) in a sound capture.
	Wire int
	// Time is unix ns; 0 when the capture has none.
	Time int64
	Link packet.LinkType
	// Interface is the kernel's interface index for a live capture, the number of
	// the interface in the file (0 for the first) for a file.
	Interface int
	Travel    packet.Travel
	// Segment is the payload size of the segments that a GSO or GRO frame stands
	// for, 0 when it is one packet or the capture does not know.
	Segment int
	// VLAN is the outermost tag where the device stripped it from Data, else 0; its
	// 4 octets are in Wire.
	VLAN uint16
}

// Source is an observation point (RFC 7012). Only one goroutine may read; Stats
// may be called from any.
type Source interface {
	// ReadBatch fills batch from its start and returns how many packets it holds.
	// It blocks until there is one, the context is done or nothing more comes:
	// then the error is that of the context, io.EOF at the clean end of a file, or
	// says what is wrong. Packets delivered together with an error are valid.
	// A live source may return 0 packets without an error when none came for a
	// while.
	ReadBatch(ctx context.Context, batch []Packet) (int, error)
	Stats() SourceStats
	// Close is idempotent and must not run at the same time as ReadBatch.
	Close() error
}

// SourceStats counts what a source did since it was opened.
type SourceStats struct {
	Packets uint64 // delivered
	Dropped uint64 // by the kernel: no room in the ring
	Freezes uint64 // times the ring was full (TPACKET_V3 freeze_q_cnt)
	Ignored uint64 // frames of interfaces that were not asked for
	// Opaque counts frames whose ring header could not be read: their direction
	// and segment size are unknown.
	Opaque uint64
	// Unordered counts packets of a file delivered after a later one, because they
	// were further out of place than the sorting window reaches.
	Unordered uint64
	// Untimed counts packets without a timestamp (pcapng simple packets).
	Untimed uint64
}
