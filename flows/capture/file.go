package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/weir-probe/weir/flows/packet"
)

// What can be wrong with a capture file; match with errors.Is.
var (
	// ErrNotCapture: neither pcap nor pcapng, plain or gzip.
	ErrNotCapture = errors.New("not a capture file")
	// ErrTruncated: the file ends inside a packet. Everything before was delivered.
	ErrTruncated = errors.New("capture file is cut off")
	// ErrCorrupt: a length or reference in the file contradicts the rest. Everything
	// before was delivered.
	ErrCorrupt = errors.New("capture file is damaged")
)

// FileError says where in a capture file reading stopped.
type FileError struct {
	Path   string
	Packet uint64 // number of the packet that could not be read, from 1; 0 in the file header
	Offset int64  // octets of the (uncompressed) file read until then
	Err    error  // wraps one of ErrNotCapture, ErrTruncated, ErrCorrupt
}

func (e *FileError) Error() string {
	if e.Packet == 0 {
		return fmt.Sprintf("read capture file %s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("read capture file %s: packet %d at offset %d: %v", e.Path, e.Packet, e.Offset, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// FileConfig bounds a File. A zero field means the default.
type FileConfig struct {
	// Window is over how many packets out-of-order timestamps are sorted. Default
	// 1024, 1 delivers in file order.
	Window int
	// Snaplen cuts what is kept of a packet, in octets. Default 65536.
	Snaplen int
}

// DefaultFileConfig returns the configuration that the zero value stands for.
func DefaultFileConfig() FileConfig { return FileConfig{Window: 1024, Snaplen: 65536} }

// Validate says what is wrong with the configuration.
func (c FileConfig) Validate() error {
	if c.Window < 0 || c.Window > 1<<20 {
		return fmt.Errorf("capture file: sorting window is %d packets, want 1 to %d (0 for the default)", c.Window, 1<<20)
	}
	if c.Snaplen < 0 || c.Snaplen > 1<<20 || (c.Snaplen > 0 && c.Snaplen < 64) {
		return fmt.Errorf("capture file: snaplen is %d octets, want 64 to %d (0 for the default)", c.Snaplen, 1<<20)
	}
	return nil
}

// File reads pcap (µs and ns, both byte orders) and pcapng, plain or gzip, and
// delivers the packets in the order of their time, sorted within the window.
type File struct {
	path   string
	config FileConfig
	close  func() error
	input  *countReader
	buffer *bufio.Reader
	next   func() (Packet, error)
	read   uint64 // packets read from the file
	last   int64  // newest time delivered
	window window
	failed error // why nothing more comes, delivered after the window
	stats  fileStats
}

// OpenFile opens a capture file. The error is a *FileError for a file that can
// be read and is no capture.
func OpenFile(path string, c FileConfig) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture file: %w", err)
	}
	s, err := NewFile(f, path, c)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.close = f.Close
	return s, nil
}

// NewFile reads a capture from r; name stands in errors. r is not closed.
func NewFile(r io.Reader, name string, c FileConfig) (*File, error) {
	d := DefaultFileConfig()
	if c.Window == 0 {
		c.Window = d.Window
	}
	if c.Snaplen == 0 {
		c.Snaplen = d.Snaplen
	}
	f := &File{path: name, config: c, close: func() error { return nil }}
	f.window.init(c.Window)
	if err := f.open(r); err != nil {
		return nil, &FileError{Path: name, Err: err}
	}
	return f, nil
}

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicNg   = []byte{0x0a, 0x0d, 0x0d, 0x0a}
	magicPcap = [][]byte{
		{0xa1, 0xb2, 0xc3, 0xd4}, {0xd4, 0xc3, 0xb2, 0xa1}, // µs
		{0xa1, 0xb2, 0x3c, 0x4d}, {0x4d, 0x3c, 0xb2, 0xa1}, // ns
	}
)

const whatToGive = "want pcap or pcapng, plain or gzip (write one with tcpdump -w)"

// open finds out the format. It unwraps gzip itself, so that offsets count the
// octets of the capture and the magic is judged before pcapgo sees it.
func (f *File) open(r io.Reader) error {
	raw := bufio.NewReader(r)
	if head, _ := raw.Peek(2); bytes.Equal(head, magicGzip) {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return fmt.Errorf("%w: broken gzip header: %w; %s", ErrNotCapture, err, whatToGive)
		}
		f.input = &countReader{r: z}
	} else {
		f.input = &countReader{r: raw}
	}
	f.buffer = bufio.NewReaderSize(f.input, 1<<16)

	magic, err := f.buffer.Peek(4)
	if len(magic) < 4 {
		if err == io.EOF {
			return fmt.Errorf("%w: %d octets long; %s", ErrNotCapture, len(magic), whatToGive)
		}
		return fmt.Errorf("%w: %w; %s", ErrNotCapture, err, whatToGive)
	}
	if bytes.Equal(magic, magicNg) {
		return f.openNg()
	}
	for _, m := range magicPcap {
		if bytes.Equal(magic, m) {
			return f.openPcap()
		}
	}
	return fmt.Errorf("%w: begins with % x; %s", ErrNotCapture, magic, whatToGive)
}

func (f *File) openPcap() error {
	r, err := pcapgo.NewReader(f.buffer)
	if err != nil {
		return headerError(err)
	}
	// The upper bits hold the FCS length (draft-ietf-opsawg-pcap).
	link := packet.LinkType(uint32(r.LinkType()) & 0x03ffffff)
	f.next = func() (Packet, error) {
		data, ci, err := r.ZeroCopyReadPacketData()
		if err == io.EOF && ci.CaptureLength > 0 {
			err = io.ErrUnexpectedEOF // the record header was there
		}
		return Packet{Data: data, Wire: ci.Length, Time: ci.Timestamp.UnixNano(), Link: link}, err
	}
	return nil
}

func (f *File) openNg() error {
	r, err := pcapgo.NewNgReader(f.buffer, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return headerError(err)
	}
	f.next = func() (Packet, error) {
		data, ci, options, err := r.ZeroCopyReadPacketDataWithOptions()
		if err != nil {
			return Packet{}, err
		}
		p := Packet{Data: data, Wire: ci.Length, Interface: ci.InterfaceIndex}
		if !ci.Timestamp.IsZero() {
			p.Time = ci.Timestamp.UnixNano()
		}
		p.Link = mixedLink(ci)
		if options.Flags != nil {
			p.Travel = travelOf(options.Flags.Direction)
		}
		return p, nil
	}
	return nil
}

func mixedLink(ci gopacket.CaptureInfo) packet.LinkType {
	if len(ci.AncillaryData) > 0 {
		if link, ok := ci.AncillaryData[0].(layers.LinkType); ok {
			return packet.LinkType(link)
		}
	}
	return packet.LinkType(^uint32(0))
}

func travelOf(d pcapgo.NgEpbFlag) packet.Travel {
	switch d {
	case pcapgo.NgEpbFlagDirectionInbound:
		return packet.TravelIn
	case pcapgo.NgEpbFlagDirectionOutbound:
		return packet.TravelOut
	}
	return packet.TravelUnknown
}

func headerError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w inside the file header; capture again", ErrTruncated)
	}
	return fmt.Errorf("%w in the file header: %w; capture again", ErrCorrupt, err)
}

// ReadBatch delivers the next packets in time order. See Source.
func (f *File) ReadBatch(ctx context.Context, batch []Packet) (int, error) {
	f.window.reclaim()
	n := 0
	for n < len(batch) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		for f.failed == nil && !f.window.full() {
			f.failed = f.pull()
		}
		slot := f.window.pop()
		if slot == nil {
			return n, f.failed
		}
		if slot.Time < f.last {
			f.stats.unordered.Add(1)
		}
		f.last = max(f.last, slot.Time)
		batch[n] = *slot
		n++
		f.stats.packets.Add(1)
	}
	return n, nil
}

// pull reads one packet from the file into the window.
func (f *File) pull() error {
	at := f.offset()
	p, err := f.next()
	if err == io.EOF {
		return io.EOF
	}
	f.read++
	if err != nil {
		return &FileError{Path: f.path, Packet: f.read, Offset: at, Err: packetError(err)}
	}
	if p.Time == 0 {
		f.stats.untimed.Add(1)
		p.Time = f.window.newest // keeps its place
	}
	f.window.push(p, f.config.Snaplen)
	return nil
}

func (f *File) offset() int64 { return f.input.n - int64(f.buffer.Buffered()) }

func packetError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w; the packets before it were read, capture again for the rest", ErrTruncated)
	}
	return fmt.Errorf("%w: %w; the packets before it were read, capture again or repair it with pcapfix", ErrCorrupt, err)
}

// Stats returns what was delivered so far.
func (f *File) Stats() SourceStats {
	return SourceStats{
		Packets:   f.stats.packets.Load(),
		Unordered: f.stats.unordered.Load(),
		Untimed:   f.stats.untimed.Load(),
	}
}

// Close closes the file that OpenFile opened.
func (f *File) Close() error {
	c := f.close
	f.close = func() error { return nil }
	return c()
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
