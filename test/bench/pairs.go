package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// workload does one operation between the namespaces, all of it on one CPU.
type workload struct {
	name string
	op   func() error
	n    int // operations per phase
}

// phase holds the CPU time per operation of each workload.
type phase struct {
	cost []float64 // µs
	weir time.Duration
	took time.Duration
}

const smallMessage = 64

// pairs measures off, on, off in each round: the "on" against the mean of its
// neighbours cancels drift, "off" against "off" shows what is only noise.
func (b *bench) pairs(ctx context.Context, r *rig) error {
	unpin, err := pin()
	if err != nil {
		return err
	}
	defer unpin()
	loads, closeAll, err := r.workloads()
	if err != nil {
		return err
	}
	defer closeAll()
	for i := range loads {
		if err := loads[i].calibrate(b.phase); err != nil {
			return fmt.Errorf("%s: %w", loads[i].name, err)
		}
	}
	ratios, control, base, extra := make([][]float64, len(loads)), make([][]float64, len(loads)), make([][]float64, len(loads)), make([][]float64, len(loads))
	var share []float64
	before, err := measure(loads, nil)
	for range b.rounds {
		if err != nil {
			return err
		}
		p, err := b.start(ctx, "--interval", "10s")
		if err != nil {
			return err
		}
		on, err := measure(loads, p)
		if stopped := p.stop(); err == nil {
			err = stopped
		}
		if err != nil {
			return err
		}
		after, err := measure(loads, nil)
		if err != nil {
			return err
		}
		for i := range loads {
			off := (before.cost[i] + after.cost[i]) / 2
			ratios[i] = append(ratios[i], on.cost[i]/off)
			control[i] = append(control[i], after.cost[i]/before.cost[i])
			base[i] = append(base[i], off)
			extra[i] = append(extra[i], on.cost[i]-off)
		}
		share = append(share, 100*on.weir.Seconds()/on.took.Seconds())
		before = after
	}
	for i, w := range loads {
		limit := "≤ 1.10"
		if w.name == "TCP bulk 64 KiB" {
			limit = ""
		}
		row := median("pairs: CPU of the work with Weir / without, median [quartiles]", w.name, "ratio", ratios[i])
		c := median("", "", "", control[i])
		row.Limit, row.Note = limit, fmt.Sprintf("base %.2f µs, %+.2f µs; noise (off/off) %.3f [%.3f … %.3f]",
			median("", "", "", base[i]).Value, median("", "", "", extra[i]).Value, c.Value, c.Low, c.High)
		b.add(row)
	}
	b.add(median(b.rows[len(b.rows)-1].Group, "weir's own CPU meanwhile", "%core", share))
	return nil
}

// median returns the median with the quartiles as its spread.
func median(group, name, unit string, v []float64) Row {
	s := slices.Sorted(slices.Values(v))
	at := func(q float64) float64 {
		x := q * float64(len(s)-1)
		i := int(x)
		if i+1 >= len(s) {
			return s[i]
		}
		return s[i] + (s[i+1]-s[i])*(x-float64(i))
	}
	return Row{Group: group, Name: name, Unit: unit, Value: at(0.5), Low: at(0.25), High: at(0.75)}
}

// measure runs every workload once; p is weir if it runs.
func measure(loads []workload, p *probe) (phase, error) {
	ph := phase{cost: make([]float64, len(loads))}
	start := time.Now()
	var weir time.Duration
	if p != nil {
		weir = p.cpu()
	}
	for i := range loads {
		used, err := loads[i].run(loads[i].n)
		if err != nil {
			return ph, fmt.Errorf("%s: %w", loads[i].name, err)
		}
		ph.cost[i] = float64(used.Nanoseconds()) / 1000 / float64(loads[i].n)
	}
	if p != nil {
		ph.weir = p.cpu() - weir
	}
	ph.took = time.Since(start)
	return ph, nil
}

// calibrate sets n to what takes about d.
func (w *workload) calibrate(d time.Duration) error {
	if _, err := w.run(100); err != nil {
		return err
	}
	const probe = 2000
	start := time.Now()
	if _, err := w.run(probe); err != nil {
		return err
	}
	w.n = int(probe * d.Seconds() / time.Since(start).Seconds())
	return nil
}

// run returns the CPU time of n operations: this process's, which is charged
// with the softirqs it raises.
func (w *workload) run(n int) (time.Duration, error) {
	start := cpuTime()
	for range n {
		if err := w.op(); err != nil {
			return 0, err
		}
	}
	return cpuTime() - start, nil
}

func cpuTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err) // it can't
	}
	return time.Duration(ts.Nano())
}

// pin keeps this thread on the last CPU, so that packets are handled where they
// are sent, until unpin.
func pin() (unpin func(), err error) {
	var was unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return nil, fmt.Errorf("read the CPU affinity: %w", err)
	}
	if err := pinThread(); err != nil {
		return nil, err
	}
	return func() { _ = unix.SchedSetaffinity(0, &was) }, nil
}

func pinThread() error {
	var last unix.CPUSet
	last.Set(runtime.NumCPU() - 1)
	if err := unix.SchedSetaffinity(0, &last); err != nil {
		return fmt.Errorf("keep the thread on one CPU: %w", err)
	}
	return nil
}

// serve answers on another thread of the same CPU until the socket is shut down:
// the request/response of two programs, with their context switches.
func (p conn) serve(size int) {
	go func() {
		runtime.LockOSThread() // and ends with the goroutine
		if pinThread() != nil {
			return // noisier, not wrong
		}
		buf := make([]byte, size)
		for readFull(p.s, buf) == nil {
			if _, err := unix.Write(p.s, buf); err != nil {
				return
			}
		}
	}()
}

// ask sends a request to a served connection and takes the answer.
func (p conn) ask(buf []byte) error {
	if _, err := unix.Write(p.c, buf); err != nil {
		return err
	}
	return readFull(p.c, buf)
}

// workloads opens the sockets of the workloads.
func (r *rig) workloads() (loads []workload, closeAll func(), err error) {
	var fds []int
	closeAll = func() {
		for _, fd := range fds {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR) // ends who reads from it
			unix.Close(fd)
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	var udp [2]conn
	for i := range udp {
		if udp[i], err = r.udpPair(7000 + 2*i); err != nil {
			return nil, closeAll, err
		}
		fds = append(fds, udp[i].c, udp[i].s)
	}
	var listeners []int
	for i := range 64 { // many ports: TIME_WAIT holds each pair for a minute
		l, err := r.listen(7000 + i)
		if err != nil {
			return nil, closeAll, err
		}
		listeners, fds = append(listeners, l), append(fds, l)
	}
	var tcp [3]conn
	err = r.in(r.a, func() (err error) {
		for i := range tcp {
			if tcp[i], err = connect(listeners[0], 7000); err != nil {
				return err
			}
			fds = append(fds, tcp[i].c, tcp[i].s)
			for _, fd := range []int{tcp[i].c, tcp[i].s} {
				if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, closeAll, err
	}
	udp[1].serve(smallMessage)
	tcp[1].serve(smallMessage)
	small, large := make([]byte, smallMessage), make([]byte, 64<<10)
	next := 0
	return []workload{
		{name: "UDP rr 64 B, two threads", op: func() error { return udp[1].ask(small) }},
		{name: "TCP rr 64 B, two threads", op: func() error { return tcp[1].ask(small) }},
		{name: "UDP rr 64 B, one thread", op: func() error { return udp[0].exchange(small) }},
		{name: "TCP rr 64 B, one thread", op: func() error { return tcp[0].exchange(small) }},
		{name: "TCP connect/rr/close", op: func() error {
			next = (next + 1) % len(listeners)
			return r.oneShot(listeners[next], 7000+next, small)
		}},
		{name: "TCP bulk 64 KiB", op: func() error { return tcp[2].push(large) }},
	}, closeAll, nil
}

func (r *rig) udpPair(port int) (p conn, err error) {
	open := func(fd *int, port int) error {
		if *fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(*fd, &unix.SockaddrInet4{Port: port})
	}
	if err := r.in(r.b, func() error {
		if err := open(&p.s, port); err != nil {
			return err
		}
		return unix.Connect(p.s, &unix.SockaddrInet4{Addr: ipA, Port: port + 1})
	}); err != nil {
		return p, fmt.Errorf("open UDP server: %w", err)
	}
	if err := r.in(r.a, func() error {
		if err := open(&p.c, port+1); err != nil {
			return err
		}
		return unix.Connect(p.c, &unix.SockaddrInet4{Addr: ipB, Port: port})
	}); err != nil {
		return p, fmt.Errorf("open UDP client: %w", err)
	}
	return p, nil
}

// exchange sends a request and its answer.
func (p conn) exchange(buf []byte) error {
	for _, way := range [2][2]int{{p.c, p.s}, {p.s, p.c}} {
		if _, err := unix.Write(way[0], buf); err != nil {
			return err
		}
		if err := readFull(way[1], buf); err != nil {
			return err
		}
	}
	return nil
}

// push sends one way.
func (p conn) push(buf []byte) error {
	if _, err := unix.Write(p.c, buf); err != nil {
		return err
	}
	return readFull(p.s, buf)
}

// oneShot is a connection of one request. The thread enters a once per call.
func (r *rig) oneShot(listener, port int, buf []byte) error {
	return r.in(r.a, func() error {
		p, err := connect(listener, port)
		if err != nil {
			return err
		}
		defer p.close()
		return p.exchange(buf)
	})
}

func readFull(fd int, buf []byte) error {
	for n := 0; n < len(buf); {
		k, err := unix.Read(fd, buf[n:])
		if err != nil {
			return err
		}
		if k == 0 {
			return fmt.Errorf("connection closed after %d of %d octets", n, len(buf))
		}
		n += k
	}
	return nil
}
