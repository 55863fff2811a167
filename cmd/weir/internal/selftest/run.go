package selftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a selftest. The zero value is a small run.
type Options struct {
	Rates    []Rate        // default 100
	Duration time.Duration // of the traffic at each rate; default 6 s
	Interval time.Duration // of the probe's rows; default 2 s
	Dir      string        // for the truth and the rows, which stay there; default a temporary one
	// Ship sends the file of rows to a database and reads those of the host back;
	// nil where there is none. It is called for the first rate only.
	Ship func(ctx context.Context, host, rows string) (*Found, error)
}

// ErrCannot says that this host can't run a selftest: it proves nothing, neither way.
var ErrCannot = errors.New("selftest can't run here")

// able says what is missing.
func able() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it makes network namespaces and runs the probe, which needs root", ErrCannot)
	}
	// The initial PID namespace has a fixed inode: elsewhere the PIDs that workers
	// see are not those that the kernel reports to the probe.
	const initial = 0xeffffffc
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil || st.Ino != initial {
		return fmt.Errorf("%w: it has to see the host's process ids (docker run --pid host)", ErrCannot)
	}
	return nil
}

// Run makes the traffic of each rate in turn and compares. An error says that it
// could not be done, not that something was wrong.
func Run(ctx context.Context, opt Options, progress func(string)) (levels []*Level, err error) {
	if err := able(); err != nil {
		return nil, err
	}
	if len(opt.Rates) == 0 {
		opt.Rates = []Rate{100}
	}
	if opt.Duration == 0 {
		opt.Duration = 6 * time.Second
	}
	if opt.Interval == 0 {
		opt.Interval = 2 * time.Second
	}
	if opt.Dir == "" {
		if opt.Dir, err = os.MkdirTemp("", "weir-selftest-"); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCannot, err)
		}
		defer os.RemoveAll(opt.Dir)
	}
	for i, r := range opt.Rates {
		progress(fmt.Sprintf("%s connections/s for %s …", r, opt.Duration))
		run := &level{opt: &opt, rate: r, dir: filepath.Join(opt.Dir, r.String())}
		found, err := run.run(ctx, i == 0, progress)
		levels = append(levels, found...)
		if err != nil {
			return levels, fmt.Errorf("%w: %w", ErrCannot, err)
		}
	}
	return levels, nil
}

// level is one rate at work.
type level struct {
	opt  *Options
	rate Rate
	dir  string

	bed  *bed
	mix  []situation
	crew crew
}

func (l *level) run(ctx context.Context, first bool, progress func(string)) (found []*Level, err error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	if old, err := os.ReadDir(l.dir); err != nil || len(old) > 0 {
		return nil, errors.Join(err, fmt.Errorf("%s is not empty: an earlier run's truth would be taken for this one's", l.dir))
	}
	if l.bed, err = newBed(); err != nil {
		return nil, err
	}
	defer l.bed.close()
	l.mix, l.crew.dir = mix(l.bed), l.dir
	defer func() { err = errors.Join(err, l.crew.dismiss()) }()
	host := "weir-selftest-" + randomHex(4)
	p, err := startProbe(ctx, l.bed, l.dir, host, l.opt.Interval, l.opt.Duration+5*time.Minute)
	if p != nil {
		defer p.kill()
	}
	if err != nil {
		return nil, err
	}
	if err := l.crew.hire(ctx, l.bed, l.mix, l.rate, l.opt.Duration); err != nil {
		return nil, err
	}
	got := &Level{}
	if err := l.measure(ctx, p, got); err != nil {
		return nil, err
	}
	rows, err := readRows(p.rows)
	if err != nil {
		return nil, err
	}
	truths, err := l.crew.truth()
	if err != nil {
		return nil, err
	}
	compare := func(f *Found, database bool) *Level {
		c := check(l.mix, truths, f.Rows, l.bed.has)
		c.Rate, c.Host, c.Database, c.Lost, c.Wire = l.rate.String(), host, database, f.Lost(), f.Wire
		c.Seconds, c.CPU, c.RSS, c.Interface = got.Seconds, got.CPU, got.RSS, got.Interface
		c.Reached = float64(c.Total().Made) / got.Seconds
		return c
	}
	found = append(found, compare(rows, false))
	if l.opt.Ship != nil && first {
		progress("the rows to the database and back …")
		rows, err := l.opt.Ship(ctx, host, p.rows)
		if err != nil {
			return found, err
		}
		found = append(found, compare(rows, true))
	}
	return found, nil
}

// measure makes the traffic, ends everybody, and the probe last.
func (l *level) measure(ctx context.Context, p *probe, got *Level) error {
	octets0, err := l.bed.octets()
	if err != nil {
		return err
	}
	cpu0, began := p.cpu(), time.Now()
	if err := l.crew.work(ctx, l.opt.Duration); err != nil {
		return err
	}
	got.Seconds = time.Since(began).Seconds()
	got.CPU = (p.cpu() - cpu0).Seconds() / got.Seconds
	select { // the last acknowledgements are still under way
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	octets1, err := l.bed.octets()
	if err != nil {
		return err
	}
	got.Interface, got.RSS = octets1-octets0, p.peak()
	return errors.Join(l.crew.dismiss(), p.stop())
}

// has says whether a row is about the bed: by namespace, or of packets that no
// socket was found for, by address.
func (b *bed) has(r *Row) bool {
	mine := func(e *RowEnd) bool {
		return slices.ContainsFunc(b.boxes, func(x *box) bool { return x.inode == e.NetNS })
	}
	inside := func(a netip.Addr) bool {
		return slices.ContainsFunc(bedNetworks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	c, s := &r.Ends[Client], &r.Ends[Server]
	if mine(c) || mine(s) {
		return true
	}
	return c.NetNS == 0 && s.NetNS == 0 && inside(c.Addr.Addr()) && inside(s.Addr.Addr())
}

// octets is what came into the host from all boxes so far: every packet comes in
// once, whatever ways it takes there.
func (b *bed) octets() (n int64, err error) {
	links, err := b.host.nl.LinkList()
	if err != nil {
		return 0, fmt.Errorf("read the counters of the bed: %w", err)
	}
	for _, l := range links {
		if l.Type() == "veth" {
			n += int64(l.Attrs().Statistics.RxBytes)
		}
	}
	return n, nil
}

// cpu is what the probe has used, user and system.
func (p *probe) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if err != nil || len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(f[11]), 10, 64)
	system, _ := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration((user + system) * tick)
}

// peak is the most memory it had resident, in octets.
func (p *probe) peak() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(f[0], 10, 64)
	return kib << 10
}

// kill ends what stop has not.
func (p *probe) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		err := <-p.done
		p.done <- err
	}
}
