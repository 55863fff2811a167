package tcx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// verifyEvery is how often attachments are looked after: a CNI plug-in may
	// remove a qdisc, a device may leave the namespace and come back.
	verifyEvery = 10 * time.Second
	// retryEvery bounds how fast a broken subscription is renewed.
	retryEvery  = time.Second
	noticeBytes = 1 << 20 // receive buffer for device notices: some thousand
)

// Run follows the devices until ctx is done: new ones are attached to, removed
// ones cleaned up, vanished programs attached again. Call it after Attach, in a
// thread of the same network namespace. It returns nil when ctx is done.
func (m *Meter) Run(ctx context.Context) error {
	if m.coll == nil {
		return errors.New("follow the network devices: the meter is not attached")
	}
	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	for {
		err := m.follow(ctx, verify.C)
		if ctx.Err() != nil {
			return nil
		}
		m.mu.Lock()
		m.counted.resyncs++
		m.mu.Unlock()
		m.log.Warn("device notices were interrupted, reading the list again", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

// follow subscribes, reads the list once (what came between Attach and now, or
// was missed), then handles notices until something breaks.
func (m *Meter) follow(ctx context.Context, verify <-chan time.Time) error {
	updates := make(chan netlink.LinkUpdate, 256)
	done := make(chan struct{})
	failed := make(chan error, 1)
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ReceiveBufferSize: noticeBytes,
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	})
	if err != nil {
		return fmt.Errorf("subscribe to device notices: %w", err)
	}
	defer func() {
		close(done)
		for range updates { // its goroutine may be sending
		}
	}()
	if err := m.verify(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-verify:
			if err := m.verify(); err != nil {
				return err
			}
		case u, ok := <-updates:
			if !ok {
				return errors.New("the notice socket was closed")
			}
			if err := m.notice(u); err != nil {
				return err
			}
		}
	}
}

func (m *Meter) notice(u netlink.LinkUpdate) error {
	if u.Family != unix.AF_UNSPEC {
		return nil // the bridge tells of its ports with the same message types
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	i, master := u.Attrs().Index, 0
	was := m.devs[i]
	if was != nil {
		master = was.master
	}
	if u.Header.Type == unix.RTM_DELLINK {
		switch {
		case was == nil:
			m.unseen(u.Link)
		case was.gapOpen:
			m.closeGap(was, u.Link)
		}
		m.vanish(i)
	} else {
		m.appear(u.Link, time.Now())
	}
	if is := m.devs[i]; is == was && (is == nil || is.master == master && !is.switches()) {
		return nil // nothing that a domain depends on
	}
	return m.redraw()
}

// verify compares the devices with what is attached and repairs it.
func (m *Meter) verify() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	links, err := m.listLinks()
	if err != nil {
		return err
	}
	now := time.Now()
	exist := make(map[int]bool, len(links))
	for _, l := range links {
		i := l.Attrs().Index
		exist[i] = true
		if d := m.devs[i]; d != nil && d.state == StateAttached && !m.attached(d, l) {
			m.log.Warn("the programs of a device had vanished, attaching again", "device", d.name)
			m.counted.reattached++
			metered, _ := m.carriedNow(d) // 0 when unreadable: then all of it is gap
			metered.add(d.baseline.sum())
			m.vanish(i)
			m.take(l, now, metered)
			continue
		}
		if d := m.devs[i]; d != nil && d.state == StateFailed {
			m.attach(d, l)
		}
		if d := m.devs[i]; d != nil && d.gapOpen {
			m.closeGap(d, l) // never quiet: what came since the list was read is little
		}
		m.appear(l, now)
	}
	// The notice of its end may be on its way, and must find it here: one that the
	// notices do not know is a gap. Where that was lost, the next look forgets it.
	for i, d := range m.devs {
		if !exist[i] && d.missing {
			m.vanish(i)
		}
		d.missing = !exist[i]
	}
	return m.redraw()
}

// attached says whether the kernel still has both programs at the device.
func (m *Meter) attached(d *device, l netlink.Link) bool {
	if d.mode == ModeTC {
		for _, parent := range clsactParents {
			if ours, _, err := m.filters(l, parent); err == nil && len(ours) == 0 {
				return false
			}
		}
		return true
	}
	for _, c := range d.links {
		lk, ok := c.(link.Link)
		if !ok {
			continue
		}
		info, err := lk.Info()
		if err != nil {
			continue // not known: leave it alone
		}
		// A link whose device went away stays open and names device 0.
		if tcx := info.TCX(); tcx != nil && int(tcx.Ifindex) != d.ifindex {
			return false
		}
	}
	return true
}
