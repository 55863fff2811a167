package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/decode"
)

const httpPort = 8077

// nginxConf is one worker that answers from memory.
const nginxConf = `worker_processes 1;
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.log warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 1000000000;
	server {
		listen %[2]s:%[3]d;
		location / { default_type text/plain; return 200 "%[4]s"; }
	}
}
`

// http drives nginx in one namespace by wrk in the other, over connections that are
// kept, as fast as both can: off, on, off. What is compared is the CPU time of
// nginx, wrk, the kernel's softirq threads and weir per request. Weir's count of the
// requests stands beside wrk's.
func (b *bench) http(ctx context.Context, _ *rig) (err error) {
	server, stop, err := b.nginx(ctx)
	if err != nil {
		return err
	}
	defer stop()
	server = append(append(server, named("nginx", server[0])...), named("ksoftirqd", 0)...)
	if _, err := b.wrk(ctx, server); err != nil { // warm
		return err
	}
	before, err := b.wrk(ctx, server)
	if err != nil {
		return err
	}
	var ratios, control, base, extra, share []float64
	var asked, counted, overflow float64
	for range b.rounds {
		p, err := b.start(ctx, "--interval", "1s")
		if err != nil {
			return err
		}
		own := p.cpu()
		on, err := b.wrk(ctx, server)
		own = p.cpu() - own
		if stopped := p.stop(); err == nil {
			err = stopped
		}
		if err != nil {
			return err
		}
		told, err := p.requests()
		if err != nil {
			return err
		}
		counted += told
		lost, _, err := p.lost()
		if err != nil {
			return err
		}
		on.cost += float64(own.Microseconds()) / on.requests
		after, err := b.wrk(ctx, server)
		if err != nil {
			return err
		}
		off := (before.cost + after.cost) / 2
		ratios, control = append(ratios, on.cost/off), append(control, after.cost/before.cost)
		base, extra = append(base, off), append(extra, on.cost-off)
		share = append(share, 100*own.Seconds()/on.took.Seconds())
		asked, overflow = asked+on.requests, overflow+lost
		before = after
	}
	const group = "http: CPU per request with Weir / without, median [quartiles]"
	row, c := median(group, "HTTP keep-alive, nginx and wrk", "ratio", ratios), median("", "", "", control)
	row.Limit = "≤ 1.15"
	row.Note = fmt.Sprintf("base %.1f µs, %+.1f µs; noise (off/off) %.3f [%.3f … %.3f]", median("", "", "", base).Value, median("", "", "", extra).Value, c.Value, c.Low, c.High)
	b.add(row)
	b.add(median(group, "weir's own CPU meanwhile", "%core", share))
	b.add(Row{Group: group, Name: "requests counted / made", Unit: "ratio", Value: counted / asked, Note: fmt.Sprintf("%.0f of %.0f; %.0f lost by weir's own account", counted, asked, overflow)})
	return nil
}

// nginx starts the server and waits until it answers; stop ends it.
func (b *bench) nginx(ctx context.Context) (pids []int, stop func(), err error) {
	conf := filepath.Join(b.dir, "nginx.conf")
	text := fmt.Sprintf(nginxConf, b.dir, addrB, httpPort, strings.Repeat("weir ", 100))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", "wb-b", "nginx", "-c", conf, "-p", b.dir)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start nginx (apt-get install nginx): %w", err)
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt) // its master ends the worker
		_ = cmd.Wait()                       // ended by a signal
	}
	for range 100 {
		if exec.CommandContext(ctx, "ip", "netns", "exec", "wb-a", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", addrB, httpPort)).Run() == nil {
			return []int{cmd.Process.Pid}, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return nil, nil, fmt.Errorf("nginx does not answer at %s: %s", net.JoinHostPort(addrB, strconv.Itoa(httpPort)), log.String())
}

// httpPhase is one run of wrk.
type httpPhase struct {
	cost     float64 // µs of CPU per request
	requests float64
	took     time.Duration
}

var wrkRequests = regexp.MustCompile(`(\d+) requests in`)

func (b *bench) wrk(ctx context.Context, server []int) (ph httpPhase, err error) {
	start, busy := time.Now(), ran(server...)
	seconds := max(1, int((3 * b.phase).Seconds()))
	wrk := exec.CommandContext(ctx, "ip", "netns", "exec", "wb-a", "wrk", "-t1", "-c32", fmt.Sprintf("-d%ds", seconds), fmt.Sprintf("http://%s:%d/", addrB, httpPort))
	out, err := wrk.CombinedOutput()
	if err != nil {
		return ph, fmt.Errorf("wrk (apt-get install wrk): %w: %s", err, out)
	}
	busy, ph.took = ran(server...)-busy+wrk.ProcessState.UserTime()+wrk.ProcessState.SystemTime(), time.Since(start)
	m := wrkRequests.FindSubmatch(out)
	if m == nil {
		return ph, fmt.Errorf("wrk told no requests: %s", out)
	}
	if strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return ph, errors.New("wrk had errors: " + string(out))
	}
	if ph.requests, err = strconv.ParseFloat(string(m[1]), 64); err != nil || ph.requests == 0 {
		return ph, fmt.Errorf("wrk: %w: %s", err, out)
	}
	ph.cost = float64(busy.Microseconds()) / ph.requests
	return ph, nil
}

// requests adds up what weir told of HTTP.
func (p *probe) requests() (n float64, err error) {
	f, err := os.Open(p.file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = decode.Read(f, func(r *decode.Row) error {
		if v, ok := r.Fields[sink.FieldRequests].(int64); ok && r.Tags[sink.TagL7] == "http" {
			n += float64(v)
		}
		return nil
	}, sink.MeasurementL7)
	return n, err
}

// ran is how long the threads of processes have run so far, user and system: what
// the kernel does for them at once included.
func ran(pids ...int) (t time.Duration) {
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
		for _, path := range tasks {
			data, err := os.ReadFile(path)
			if f := strings.Fields(string(data)); err == nil && len(f) > 0 {
				ns, _ := strconv.ParseInt(f[0], 10, 64)
				t += time.Duration(ns)
			}
		}
	}
	return t
}

// named are the processes of a name, children of a process unless that is 0.
func named(comm string, parent int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range all {
		data, _ := os.ReadFile(path) // gone: nobody's
		_, rest, _ := strings.Cut(string(data), "(")
		name, rest, _ := strings.Cut(rest, ") ")
		if f := strings.Fields(rest); strings.HasPrefix(name, comm) && len(f) > 1 && (parent == 0 || f[1] == strconv.Itoa(parent)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}
