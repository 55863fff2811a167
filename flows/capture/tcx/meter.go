package tcx

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/bpf"
	"github.com/weir-probe/weir/flows"
)

// batchFlows is how many entries one BatchLookup copies: about 700 kB of buffer.
const batchFlows = 4096

// Handler receives what Collect and Drain find. The pointed-to struct is reused:
// a handler that keeps it copies it. Called from the caller's goroutine.
type Handler interface {
	Flow(*flows.Record)
	NAT(*flows.NAT)
}

// Meter is the in-kernel metering process of one network namespace. See the
// package documentation for which goroutine may call what.
type Meter struct {
	cfg Config
	log *slog.Logger

	coll   *ebpf.Collection
	progs  [2][2]*ebpf.Program // [hook][0 Ethernet header, 1 none]
	nl     *netlink.Handle
	nat    Feature
	tcOnly bool // the kernel has no tcx; under mu
	// tune lets a test change the sizes of maps before they are made.
	tune func(*ebpf.CollectionSpec)

	mu   sync.Mutex // guards devs, near, gone, counters, closed and domains
	devs map[int]*device
	// near is whose ledger is where in flow_near, 0 nobody.
	near [nearDevices]int
	gone [2]devVal // ledgers of removed devices, by hook
	// goneCarried is what those devices' own counters made of them.
	goneCarried Sum
	counted     counters
	closed      bool
	domains     domains

	collector
}

// New returns an inert Meter; Attach loads the programs.
func New(cfg Config) (*Meter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Meter{
		cfg:     cfg,
		log:     cfg.Log,
		devs:    make(map[int]*device),
		domains: domains{numbers: make(map[int]uint16), written: make(map[int]uint16)},
		tcOnly:  cfg.Mode == ModeTC,
	}, nil
}

// load brings maps and programs into the kernel.
func (m *Meter) load() error {
	// Without effect, and not needed, on 5.11 and later.
	if err := rlimit.RemoveMemlock(); err != nil {
		m.log.Debug("memlock limit not raised", "err", err)
	}
	extra, why := bpf.ConntrackTypes()
	switch {
	case m.cfg.WithoutNAT:
		m.nat = Feature{Reason: "off by configuration"}
	case why != "":
		m.nat = Feature{Reason: why}
	default:
		m.nat = Feature{Available: true}
	}
	err := m.loadCollection(m.nat.Available, extra)
	if err != nil && m.nat.Available && !errors.Is(err, unix.EPERM) {
		// Less is better than nothing, and the reason stays visible.
		m.nat = Feature{Reason: fmt.Sprintf("refused by the kernel: %v", err)}
		err = m.loadCollection(false, nil)
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("load the flow programs: %w: run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN", err)
	}
	if err != nil {
		return fmt.Errorf("load the flow programs: %w", err)
	}
	return nil
}

func (m *Meter) loadCollection(nat bool, extra []*btf.Spec) error {
	spec, err := bpf.LoadFlow()
	if err != nil {
		return err
	}
	spec.Maps["flow_table"].MaxEntries = m.cfg.MaxFlows
	var enabled uint8
	if nat {
		enabled = 1
	}
	if err := spec.Variables["nat_enabled"].Set(enabled); err != nil {
		return err
	}
	for _, p := range spec.Programs {
		// Only a hint that tcx does not need and clsact before 6.6 does not know.
		p.AttachType = ebpf.AttachNone
	}
	if m.tune != nil {
		m.tune(spec)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{ExtraRelocationTargets: extra},
	})
	if err != nil {
		return err
	}
	events, err := ringbuf.NewReader(coll.Maps["flow_events"])
	if err != nil {
		coll.Close()
		return fmt.Errorf("open flow_events: %w", err)
	}
	m.coll = coll
	m.progs[hookIngress] = [2]*ebpf.Program{coll.Programs["flow_ingress"], coll.Programs["flow_ingress_l3"]}
	m.progs[hookEgress] = [2]*ebpf.Program{coll.Programs["flow_egress"], coll.Programs["flow_egress_l3"]}
	m.collector = newCollector(coll.Maps["flow_table"], events, &m.cfg)
	return nil
}

// currentNetNS returns the inode of the calling thread's network namespace.
func currentNetNS() (uint32, error) {
	st, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("read the network namespace: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("read the network namespace: no inode")
	}
	return uint32(sys.Ino), nil
}

// Collect hands h a delta of every flow that changed since the last Collect,
// and the last record of every flow that ended or was idle, whose entry it
// deletes. Records of one flow come in order.
//
// The flags of a record are those seen for the first time. Record.Start of one
// instance is the same in all its records; now is what idle times are measured
// against. between, when not nil, is called after each few thousand flows, so
// that a caller can empty its ring buffers in a long pass; it may call Drain.
func (m *Meter) Collect(now time.Time, h Handler, between func()) error {
	if m.coll == nil {
		return errors.New("read the flows: the packet meter is not attached")
	}
	return m.collect(now, h, between)
}

// Drain hands h the address translations and the flow instances that ended by
// port reuse since the last Drain or Collect. Call it more often than Collect
// where many connections are translated: the ring holds some 15 000 events.
func (m *Meter) Drain(h Handler) error {
	if m.coll == nil {
		return errors.New("read the flow events: the packet meter is not attached")
	}
	if m.events.AvailableBytes() == 0 {
		return nil // read from shared memory: no system call
	}
	return m.syncDrain(h)
}

// Close detaches the programs from every device, removes a clsact qdisc that
// only Weir used, and frees the maps. Nothing is pinned, so nothing stays. The
// collector must have stopped.
func (m *Meter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.coll == nil {
		m.closed = true
		return nil
	}
	m.closed = true
	var errs []error
	for _, d := range m.devs {
		if err := m.detach(d); err != nil {
			errs = append(errs, fmt.Errorf("detach from %s: %w", d.name, err))
		}
	}
	errs = append(errs, m.events.Close())
	m.coll.Close()
	m.nl.Close()
	return errors.Join(errs...)
}
