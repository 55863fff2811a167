package address

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// Config of a Table. The zero value means the defaults.
type Config struct {
	// Reread is how often the addresses are listed although no change was
	// reported, and how long a failed subscription waits (default 30 s).
	Reread time.Duration
	Logger *slog.Logger // nil discards
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Reread: 30 * time.Second} }

// Validate checks ranges.
func (c Config) Validate() error {
	if c.Reread < 0 {
		return errors.New("addresses: reread must not be negative")
	}
	return nil
}

// Stats counts what the table did; totals since the start, except Addresses.
type Stats struct {
	Addresses int
	Changes   uint64 // updates of the kernel that changed something
	Errors    uint64 // lists and subscriptions that failed
}

// Table holds the addresses and tunnels of the network namespace it runs in.
// IsLocal and Tunnels may be called from any goroutine.
type Table struct {
	cfg     Config
	local   atomic.Pointer[map[flows.Addr]struct{}]
	tunnels atomic.Pointer[[]correlate.Tunnel]
	changes atomic.Uint64
	errors  atomic.Uint64
}

// New returns an empty table.
func New(cfg Config) *Table {
	if cfg.Reread == 0 {
		cfg.Reread = DefaultConfig().Reread
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Table{cfg: cfg}
	t.local.Store(&map[flows.Addr]struct{}{})
	t.tunnels.Store(&[]correlate.Tunnel{})
	return t
}

// IsLocal says whether the address is one of this host, loopback included.
func (t *Table) IsLocal(a flows.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	_, ok := (*t.local.Load())[a]
	return ok
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	return Stats{Addresses: len(*t.local.Load()), Changes: t.changes.Load(), Errors: t.errors.Load()}
}

// Bootstrap lists the addresses and tunnels now.
func (t *Table) Bootstrap() error {
	return errors.Join(t.readAddresses(), t.readTunnels())
}

func (t *Table) readAddresses() error {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.errors.Add(1)
		return fmt.Errorf("list the addresses of this host: %w", err)
	}
	local := make(map[flows.Addr]struct{}, len(list))
	for _, a := range list {
		if a.IPNet == nil || len(a.IP.To16()) != 16 {
			continue
		}
		local[flows.Addr(a.IP.To16())] = struct{}{}
	}
	if !same(local, *t.local.Load()) {
		t.changes.Add(1)
		t.local.Store(&local)
	}
	return nil
}

func same(a, b map[flows.Addr]struct{}) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			return false
		}
	}
	return true
}

// Run keeps the table up to date until ctx is done. A host whose kernel reports
// no changes is asked every Reread.
func (t *Table) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := t.follow(ctx); err != nil {
			t.cfg.Logger.Warn("new addresses of this host will be noticed late", "error", err, "again_in", t.cfg.Reread)
		}
		select {
		case <-ctx.Done():
		case <-time.After(t.cfg.Reread):
		}
	}
	return nil
}

func (t *Table) follow(ctx context.Context) error {
	done := make(chan struct{})
	addrs, links := make(chan netlink.AddrUpdate, 64), make(chan netlink.LinkUpdate, 64)
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: fail})
	if err == nil {
		defer drain(addrs)
		err = netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: fail})
	}
	if err != nil {
		close(done)
		t.errors.Add(1)
		return errors.Join(fmt.Errorf("subscribe to changes of addresses and devices: %w", err), t.Bootstrap())
	}
	defer drain(links)
	defer close(done)
	if err := t.Bootstrap(); err != nil {
		return err
	}
	tick := time.NewTicker(t.cfg.Reread)
	defer tick.Stop()
	for {
		ok := true
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			t.errors.Add(1)
			return fmt.Errorf("read changes of addresses and devices: %w", err)
		case _, ok = <-addrs:
		case _, ok = <-links:
		case <-tick.C:
		}
		if !ok {
			return errors.New("read changes of addresses and devices: the kernel closed the subscription")
		}
		// One change seldom comes alone: a list is one request for all of them.
		skim(addrs)
		skim(links)
		if err := t.Bootstrap(); err != nil {
			return err
		}
	}
}

func skim[T any](updates <-chan T) {
	for {
		select {
		case _, ok := <-updates:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// drain lets the library's reader see that it is no longer wanted.
func drain[T any](updates <-chan T) {
	for range updates {
	}
}
