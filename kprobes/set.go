package kprobes

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
)

// drainLimit bounds one Drain: a producer that is faster than the reader must
// not keep it from the rest of its work. It is ten times what both rings hold.
const drainLimit = 1 << 18

// longAgo as a deadline makes a ring reader look without waiting.
var longAgo = time.Unix(1, 0)

// Set is the loaded socket path. It is not safe for concurrent use: one
// goroutine attaches, drains and reads it, and its Handler runs there.
type Set struct {
	cfg      Config
	log      *slog.Logger
	btf      *btf.Cache
	specs    [objects]*ebpf.CollectionSpec
	maps     [objects]map[string]*ebpf.Map
	programs map[string]*ebpf.Program
	links    map[string]link.Link // by program, as the iterators are
	iters    map[string]*link.Iter
	status   []Status
	errs     []error            // by probe, nil where there was none
	rings    [2]*ringbuf.Reader // identity first, then sockets
	payload  *ringbuf.Reader    // nil where there is none
	rec      ringbuf.Record
	iterBuf  []byte
	dec      decoder
	peers    peerTable
	drops    dropTable
	halfOpen halfOpenTable
	// listeners maps the cookie of a listening socket to where it listens.
	listeners    map[uint64]flows.Key
	round        uint32 // of snapshots, see SnapshotAll
	stats        Stats
	perCPU       []uint64
	payloadStats PayloadStats     // what user space counts
	userErrs     map[string]error // of programs inside TLS libraries, by name
	closed       bool
}

func newSet(cfg Config) *Set {
	s := &Set{
		cfg:       cfg,
		log:       cfg.Log,
		btf:       btf.NewCache(),
		programs:  make(map[string]*ebpf.Program),
		links:     make(map[string]link.Link),
		iters:     make(map[string]*link.Iter),
		status:    make([]Status, len(probes)),
		errs:      make([]error, len(probes)),
		iterBuf:   make([]byte, 64<<10), // twice the kernel's buffer
		listeners: make(map[uint64]flows.Key),
	}
	for i := range probes {
		p := &probes[i]
		s.status[i] = Status{Probe: p.hook, State: StateOff, Required: p.required, Loses: p.loses, Reason: "not loaded"}
		if p.kind == kindStorageIter || p.kind == kindIter {
			s.status[i].Probe += " " + p.program
		}
	}
	s.peers.init()
	s.dec.listener = func(e *SocketEvent) {
		k := e.Key
		k.Dst, k.DstPort = flows.Addr{}, 0
		s.listeners[e.Cookie] = k
	}
	s.dec.ended = func(cookie uint64) { delete(s.listeners, cookie) }
	s.dec.datagram = s.peers.owner
	return s
}

// Status says what became of every probe, in the order of the table.
func (s *Set) Status() []Status { return append([]Status(nil), s.status...) }

// Bootstrap tells h of the processes that run, finds the owners of the sockets
// that exist, and tells h of those, too. Call it once, after Attach: whatever
// happens meanwhile is seen by the programs, and what they saw is left alone.
func (s *Set) Bootstrap(h Handler) error {
	if err := s.dec.clock.Refresh(); err != nil {
		return err
	}
	var errs []error
	for _, it := range []string{"existing_sleepable", "existing", "find_listeners", "bootstrap_sockets"} {
		errs = append(errs, s.iterate(it, h))
	}
	now, err := clock.BootTime()
	if s.status[probeIndex("sock_create")].State == StateAttached {
		s.dec.bootstrapped = now
	}
	return errors.Join(append(errs, err, s.Snapshot(h))...)
}

// Drain hands h every record in the ring buffers and returns how many there
// were. It never waits. Call it every 20 to 50 ms while there is something, and at
// least ten times a second.
func (s *Set) Drain(h Handler) (int, error) {
	if s.closed {
		return 0, fmt.Errorf("drain events: %w", os.ErrClosed)
	}
	total, fresh := 0, false
	for _, ring := range s.rings {
		if ring.AvailableBytes() == 0 {
			continue // read from shared memory: an idle host costs no system call
		}
		if !fresh {
			if err := s.dec.clock.Refresh(); err != nil {
				return total, err
			}
			fresh = true
		}
		n, err := s.drainRing(ring, h)
		total += n
		if err != nil {
			return total, fmt.Errorf("drain events: %w", err)
		}
	}
	n, err := s.drainPayload(h, fresh)
	return total + n, err
}

func (s *Set) drainRing(ring *ringbuf.Reader, h Handler) (int, error) {
	for n := range drainLimit {
		if err := ring.ReadInto(&s.rec); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return n, nil
			}
			return n, err
		}
		s.dec.next(s.rec.RawSample, h)
	}
	s.stats.DrainLimited++
	return drainLimit, nil
}

// Snapshot tells h of every open TCP socket that did something since the last
// snapshot, and of new listeners.
func (s *Set) Snapshot(h Handler) error {
	if err := s.dec.clock.Refresh(); err != nil {
		return err
	}
	return s.iterateEither("snapshot_tcp", "snapshot_files", h)
}

// AllSockets says whether a snapshot reaches every open TCP socket: where it goes by
// descriptors it does not tell of connections that nobody has accepted yet or that
// their process has closed while the kernel still sends.
func (s *Set) AllSockets() bool { return s.iters["snapshot_tcp"] != nil }

// The settings of snapshots, see enum snapshot_setting.
const (
	snapshotRound = iota
	snapshotByFiles
)

// SnapshotAll tells h of every open TCP socket, also of those that did nothing
// since the last snapshot: for a census after Stats.LostClosed has risen.
func (s *Set) SnapshotAll(h Handler) error {
	s.round++
	if err := s.maps[objSocket]["snapshots"].Put(uint32(snapshotRound), s.round); err != nil {
		return fmt.Errorf("begin a new round of snapshots: %w", err)
	}
	return s.Snapshot(h)
}

// Listeners calls yield with the local end of every listening TCP socket until
// it returns false.
func (s *Set) Listeners(yield func(flows.Key) bool) {
	for _, k := range s.listeners {
		if !yield(k) {
			return
		}
	}
}

// iterateEither runs the first of two iterators that is attached.
func (s *Set) iterateEither(name, instead string, h Handler) error {
	if s.iters[name] == nil {
		name = instead
	}
	return s.iterate(name, h)
}

// iterate runs an iterator to its end; one that is not attached has no output.
func (s *Set) iterate(name string, h Handler) error {
	it := s.iters[name]
	if it == nil {
		return nil
	}
	r, err := it.Open()
	if err == nil {
		err = s.readRecords(r, h)
		r.Close()
	}
	if err != nil {
		s.stats.IterTruncated++
		return fmt.Errorf("run iterator %s: %w", name, err)
	}
	return nil
}

func (s *Set) readRecords(r io.Reader, h Handler) error {
	fill := 0
	for {
		n, err := r.Read(s.iterBuf[fill:])
		fill += n
		rest := s.iterBuf[:fill]
		var hdr wireHeader
		for load(&hdr, rest) && int(hdr.Len) <= len(rest) {
			if rest = s.dec.next(rest, h); rest == nil {
				return errors.New("output is not a sequence of records")
			}
		}
		fill = copy(s.iterBuf, rest)
		switch {
		case errors.Is(err, io.EOF):
			if fill != 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		case errors.Is(err, unix.EAGAIN): // a million sockets without output: go on
		case err != nil:
			return err
		}
	}
}

// Close detaches everything. It may be called more than once.
func (s *Set) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	for _, it := range s.iters {
		errs = append(errs, it.Close())
	}
	for _, r := range s.rings {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	if s.payload != nil {
		errs = append(errs, s.payload.Close())
	}
	for _, p := range s.programs {
		errs = append(errs, p.Close())
	}
	for _, ms := range s.maps {
		for _, m := range ms {
			errs = append(errs, m.Close())
		}
	}
	s.iters = nil
	return errors.Join(errs...)
}
