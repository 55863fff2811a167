package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// conns makes paced short connections and compares with what Weir wrote: with
// every one in flow_log, for the count, then as configured by default.
func (b *bench) conns(ctx context.Context, r *rig) error {
	g := fmt.Sprintf("conns: %d connections/s for %s, each in flow_log", b.rate, b.connTime)
	p, err := b.connRate(ctx, r, g, "--flow-log-rate", "100000")
	if err != nil {
		return err
	}
	rows, err := p.lines("flow_log", "")
	if err != nil {
		return err
	}
	ours := 0
	for i := range rows {
		if port := int(rows[i].num("server_port")); port >= connPort && port < connPort+connPorts {
			ours++
		}
	}
	b.add(Row{Group: g, Name: "rows of flow_log", Value: float64(ours), Unit: "rows", Limit: "= made"})
	_, err = b.connRate(ctx, r, fmt.Sprintf("conns: %d connections/s for %s, defaults", b.rate, b.connTime))
	return err
}

// The ports of b that connections are made to, in turns: TIME_WAIT holds a pair
// of ports for a minute.
const connPort, connPorts = 8000, 64

// connRate makes the connections and returns the probe, which has ended.
func (b *bench) connRate(ctx context.Context, r *rig, g string, flags ...string) (*probe, error) {
	var listeners [connPorts]int
	for i := range listeners {
		l, err := r.listen(connPort + i)
		if err != nil {
			return nil, err
		}
		defer unix.Close(l)
		listeners[i] = l
	}
	p, err := b.start(ctx, append([]string{"--interval", "5s"}, flags...)...)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, smallMessage)
	made, n := 0, int(float64(b.rate)*b.connTime.Seconds())
	warm := n / 4 // caches fill, the heap grows to its size
	var cpu0 time.Duration
	var at0 time.Time
	start := time.Now()
	for ; made < n && ctx.Err() == nil; made++ {
		if made == warm {
			cpu0, at0 = p.cpu(), time.Now()
		}
		time.Sleep(time.Until(start.Add(time.Duration(made) * time.Second / time.Duration(b.rate))))
		if err := r.oneShot(listeners[made%connPorts], connPort+made%connPorts, buf); err != nil {
			return nil, errors.Join(err, p.stop())
		}
	}
	used, took := p.cpu()-cpu0, time.Since(at0)
	achieved := float64(made) / time.Since(start).Seconds()
	rss, peak := p.memory()
	if err := p.stop(); err != nil {
		return nil, err
	}
	lost, where, err := p.lost()
	if err != nil {
		return nil, err
	}
	b.add(Row{Group: g, Name: "connections made", Value: float64(made), Unit: "conns", Note: fmt.Sprintf("%.0f/s", achieved)})
	b.add(Row{Group: g, Name: "counted as lost by Weir", Value: lost, Limit: "0", Note: where})
	b.add(Row{Group: g, Name: "weir CPU, after the first quarter", Value: 100 * used.Seconds() / took.Seconds(), Unit: "%core", Limit: "< 5"})
	b.add(Row{Group: g, Name: "weir RSS (peak)", Value: rss, Unit: "MiB", Note: fmt.Sprintf("peak %.0f", peak)})
	return p, b.loops(g, p)
}

// loops adds how long the collector took at the ends of intervals, and the CPU
// of whole intervals.
func (b *bench) loops(group string, p *probe) error {
	rows, err := p.lines("weir_self", "stage=process")
	if err != nil {
		return err
	}
	var wall []float64
	for i := range rows {
		wall = append(wall, 1000*rows[i].num("loop_seconds"))
	}
	if len(wall) > 2 {
		wall = wall[1 : len(wall)-1] // the first has the start in it, the last the end
	}
	if len(wall) > 0 {
		b.add(median(group, "end of an interval, wall", "ms", wall))
	}
	return nil
}

// held keeps many flows in the maps, all of which change in every interval; then
// many idle connections.
func (b *bench) held(ctx context.Context, r *rig) error {
	if err := b.heldFlows(ctx, r); err != nil {
		return err
	}
	return b.heldSockets(ctx, r)
}

const heldInterval = 10 * time.Second

func (b *bench) heldFlows(ctx context.Context, r *rig) error {
	in, err := r.newInjector()
	if err != nil {
		return err
	}
	defer unix.Close(in.fd)
	p, err := b.start(ctx, "--interval", heldInterval.String())
	if err != nil {
		return err
	}
	cpu, err := b.rounds4(ctx, p, func() error { return in.send(b.flows) })
	rss, peak := p.memory()
	if stopped := p.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	entries, err := p.lines("weir_self", "stage=flows")
	if err != nil {
		return err
	}
	most := 0.0
	for i := range entries {
		most = max(most, entries[i].num("map_entries"))
	}
	g := fmt.Sprintf("held: %d flows, all changing in each interval of %s", b.flows, heldInterval)
	b.add(Row{Group: g, Name: "entries of flow_table", Value: most, Limit: fmt.Sprintf("≥ %d", b.flows)})
	row := median(g, "weir CPU per interval, everything", "ms", cpu)
	row.Limit = "< 250"
	b.add(row)
	b.add(Row{Group: g, Name: "weir RSS", Value: rss, Unit: "MiB", Limit: "< 150", Note: fmt.Sprintf("peak %.0f", peak)})
	return b.loops(g, p)
}

// rounds4 calls fill at the begin of four intervals and returns the CPU of the
// last three, which see nothing but changes.
func (b *bench) rounds4(ctx context.Context, p *probe, fill func() error) (ms []float64, err error) {
	for i := range 4 {
		// A second after the end of the interval: its work is over.
		next := time.Now().Truncate(heldInterval).Add(heldInterval + time.Second)
		cpu0 := p.cpu()
		if err := fill(); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(next)):
		}
		if i > 0 {
			ms = append(ms, float64((p.cpu()-cpu0).Microseconds())/1000)
		}
	}
	return ms, nil
}

// injector sends crafted UDP packets into namespace a's end of the veth: as many
// flows as it likes without a socket for each.
type injector struct {
	fd    int
	frame []byte
}

func (r *rig) newInjector() (*injector, error) {
	in := &injector{frame: make([]byte, 14+20+8+18)}
	dst, err := net.ParseMAC(macB)
	if err != nil {
		return nil, err
	}
	copy(in.frame, dst)
	copy(in.frame[6:], []byte{2, 0x77, 0, 0, 0, 9})
	copy(in.frame[12:], []byte{8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17})
	copy(in.frame[30:], []byte{10, 77, 200, 1}) // nobody's: dropped by b without an answer
	binary.BigEndian.PutUint16(in.frame[36:], 9)
	binary.BigEndian.PutUint16(in.frame[38:], 26)
	err = r.in(r.a, func() error {
		if in.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return unix.Bind(in.fd, &unix.SockaddrLinklayer{Ifindex: dev.Index})
	})
	if err != nil {
		return nil, fmt.Errorf("open the packet socket: %w", err)
	}
	return in, nil
}

// send sends one packet of each of n flows, 50 source ports per address.
func (in *injector) send(n int) error {
	const perHost = 50
	ip := in.frame[14:34]
	for i := range n {
		host := uint16(i/perHost) + 1
		copy(ip[12:], []byte{10, 77, 100 + byte(host>>8), byte(host)})
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		binary.BigEndian.PutUint16(in.frame[34:], uint16(20000+i%perHost))
		if _, err := unix.Write(in.fd, in.frame); err != nil {
			return fmt.Errorf("send packet %d: %w", i, err)
		}
	}
	return nil
}

func checksum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// heldSockets opens idle connections between the namespaces.
func (b *bench) heldSockets(ctx context.Context, r *rig) error {
	want := b.sockets
	limit := unix.Rlimit{Cur: uint64(2*want + 200), Max: uint64(2*want + 200)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		want = min(want, int(limit.Cur-200)/2)
	}
	p, err := b.start(ctx, "--interval", heldInterval.String())
	if err != nil {
		return err
	}
	open, err := r.hold(want)
	defer func() {
		for _, c := range open {
			c.close()
		}
	}()
	var cpu []float64
	if err == nil {
		cpu, err = b.rounds4(ctx, p, func() error { return nil })
	}
	rss, peak := p.memory()
	if stopped := p.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	g := fmt.Sprintf("held: %d idle TCP connections (%d sockets), interval %s", len(open), 2*len(open), heldInterval)
	row := median(g, "weir CPU per interval, everything", "ms", cpu)
	row.Limit = "< 250"
	b.add(row)
	b.add(Row{Group: g, Name: "weir RSS", Value: rss, Unit: "MiB", Limit: "< 150", Note: fmt.Sprintf("peak %.0f", peak)})
	return b.loops(g, p)
}

func (r *rig) hold(n int) (open []conn, err error) {
	l, err := r.listen(9000)
	if err != nil {
		return nil, err
	}
	defer unix.Close(l)
	err = r.in(r.a, func() error {
		for range n {
			c, err := connect(l, 9000)
			if err != nil {
				return err
			}
			open = append(open, c)
		}
		return nil
	})
	return open, err
}

// idle runs weir on a host where the bench does nothing.
func (b *bench) idle(ctx context.Context, _ *rig) error {
	p, err := b.start(ctx, "--interval", "10s")
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.stop())
	case <-time.After(2 * time.Second): // what the start leaves to do
	}
	cpu0, at := p.cpu(), time.Now()
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.stop())
	case <-time.After(b.idleTime):
	}
	used, took := p.cpu()-cpu0, time.Since(at)
	rss, peak := p.memory()
	if err := p.stop(); err != nil {
		return err
	}
	rows, err := p.lines("weir_self", "stage=kernel")
	if err != nil {
		return err
	}
	events := 0.0
	for i := range rows {
		events += rows[i].num("sockets")
	}
	g := fmt.Sprintf("idle: %s", b.idleTime)
	b.add(Row{Group: g, Name: "weir CPU", Value: 100 * used.Seconds() / took.Seconds(), Unit: "%core", Limit: "< 0.5",
		Note: fmt.Sprintf("others made %.0f socket records meanwhile", events)})
	b.add(Row{Group: g, Name: "weir RSS", Value: rss, Unit: "MiB", Note: fmt.Sprintf("peak %.0f", peak)})
	return nil
}
