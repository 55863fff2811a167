package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/cmd/weir/internal/telemetry"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/flows/capture/tcx"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// examine looks at everything weir run needs, in the order of the data path.
func examine(ctx context.Context, cfg *Config, e env) []check {
	checks := append(examineHost(), examineZone(cfg))
	hooks, err := kprobes.Probe(payloadConfig(kprobes.Config{}, cfg))
	checks = append(append(checks, examineHooks(hooks, err)...), examineTLS(cfg))
	checks = append(checks, examinePackets(ctx, cfg, hooks)...)
	checks = append(append(checks, examineCgroups()...), examineResources(cfg))
	checks = append(checks, examineRuntimes(ctx, cfg)...)
	checks = append(checks, examineJournal(cfg), examineAnomaly(cfg))
	checks = append(checks, examineSinks(ctx, cfg, e)...)
	checks = append(checks, examineAlerts(ctx, cfg)...)
	return append(checks, examineLimits(cfg)...)
}

func examineHost() []check {
	btf := check{Area: "host", Name: "BTF", State: good, Detail: "/sys/kernel/btf/vmlinux"}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		btf.State, btf.Detail = bad, "the kernel does not describe its types"
		btf.Remedy = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; without it only weir replay works"
	}
	return append([]check{
		{Area: "host", Name: "kernel", State: plain, Detail: kernelRelease()},
		btf, examinePrivileges(),
	}, examineNamespaces("/proc")...)
}

// needed are the capabilities product.md promises to be enough.
var needed = []struct {
	bit  int
	name string
}{
	{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}, {unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"},
}

func examinePrivileges() check {
	c := check{Area: "host", Name: "privileges", State: good, Detail: "uid " + strconv.Itoa(os.Geteuid())}
	eff, err := effectiveCaps()
	if err != nil {
		c.State, c.Detail = limited, err.Error()
		return c
	}
	if eff&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return c
	}
	var missing []string
	for _, n := range needed {
		if eff&(1<<n.bit) == 0 {
			missing = append(missing, n.name)
		}
	}
	if len(missing) > 0 {
		c.State, c.Detail = bad, "missing "+strings.Join(missing, ", ")
		c.Remedy = "run as root, or: setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace,cap_dac_read_search+ep weir"
	}
	return c
}

func effectiveCaps() (uint64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	return 0, errors.New("read own capabilities: no CapEff in /proc/self/status")
}

func examineHooks(status []kprobes.Status, err error) []check {
	var out []check
	for _, s := range status {
		c := check{Area: "socket path", Name: s.Probe, Detail: string(s.State)}
		switch {
		case s.State == kprobes.StateAttached:
			c.State = good
		case s.State == kprobes.StateOff && err == nil:
			c.State = plain
		case s.Required:
			c.State = bad
		default:
			c.State = limited
		}
		if s.Reason != "" {
			c.Detail += ": " + s.Reason
		}
		if c.State == limited || c.State == bad {
			c.Remedy = "without it: " + s.Loses
		}
		out = append(out, c)
	}
	if err != nil {
		out = append(out, check{Area: "socket path", Name: "load", State: bad, Detail: err.Error()})
	}
	return out
}

func examinePackets(ctx context.Context, cfg *Config, hooks []kprobes.Status) []check {
	const area = "packet path"
	if cfg.Packets == "off" {
		return []check{{Area: area, Name: "packets", State: plain, Detail: "off by configuration"}, examineNAT(noPackets{}, hooks)}
	}
	p, err := openPackets(ctx, cfg, telemetry.NewLog(discard{}, "error", "text"))
	if err != nil {
		return []check{{Area: area, Name: "packets " + cfg.Packets, State: limited, Detail: err.Error(), Remedy: "without it rows have no wire bytes and packets"}}
	}
	defer p.Close()
	st := p.Status()
	mode := check{Area: area, Name: "mode", State: good, Detail: st.Mode}
	switch st.Mode {
	case "off":
		mode.State, mode.Remedy = limited, "without it rows have no wire bytes and packets"
	case "afpacket":
		mode.State, mode.Remedy = limited, "packets are read in user space, which costs ten times more; tcx needs Linux ≥ 6.6, tc needs the module sch_ingress"
	}
	out := []check{mode, examineNAT(p, hooks)}
	for _, d := range st.Devices {
		c := check{Area: area, Name: d.Name, State: good, Detail: string(d.State)}
		switch d.State {
		case tcx.StateFailed:
			c.State, c.Detail, c.Remedy = limited, d.Reason, d.Remedy
		case tcx.StateSkipped:
			c.State, c.Detail = plain, "skipped: "+d.Reason
		}
		out = append(out, c)
	}
	return out
}

// discard is a writer that keeps nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func examineCgroups() []check {
	const area = "containers"
	mounts, err := cgroup.Find("/proc", "memory")
	if err != nil || len(mounts) == 0 {
		return []check{{Area: area, Name: "cgroups", State: limited, Detail: "no hierarchy of the host is mounted",
			Remedy: "mount -t cgroup2 none /sys/fs/cgroup (in a container: --pid=host or --cgroupns=host); without it containers older than the probe are unknown"}}
	}
	var out []check
	for _, m := range mounts {
		c := check{Area: area, Name: "cgroup " + m.Hierarchy.String(), State: good, Detail: m.Dir}
		switch m.View {
		case cgroup.Whole:
		case cgroup.Part:
			c.State, c.Detail = limited, fmt.Sprintf("%s begins at %s", m.Dir, m.Prefix)
		default:
			c.State, c.Detail = limited, fmt.Sprintf("%s shows only what is below the probe's own group", m.Dir)
		}
		if c.State == limited {
			c.Remedy = "run the container with --pid=host or --cgroupns=host, or mount the host's /sys/fs/cgroup; without it containers older than the probe are unknown"
		}
		out = append(out, c)
	}
	return out
}

func examineJournal(cfg *Config) check {
	c := check{Area: "journal", Name: "directory", State: good, Detail: cfg.Journal.Dir}
	if cfg.Journal.Dir == "" {
		c.State, c.Detail = limited, "none"
		c.Remedy = "what can't be delivered waits in memory and is lost at exit; give a directory with --journal DIR"
		return c
	}
	dir := cfg.Journal.Dir
	for { // the nearest directory that exists decides
		if _, err := os.Stat(dir); err == nil || dir == "/" || dir == "." {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		c.State, c.Detail, c.Remedy = limited, fmt.Sprintf("%s: not writable: %v", dir, err), "make it writable or choose another with --journal DIR"
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		free := int64(fs.Bavail) * fs.Bsize
		c.Detail += fmt.Sprintf(", up to %d MiB of %d MiB free", cfg.Journal.MaxBytes>>20, free>>20)
		if free < cfg.Journal.MaxBytes {
			c.State, c.Remedy = limited, "there is less room than the journal may use: set journal.max_bytes"
		}
	}
	return c
}

func examineSinks(ctx context.Context, cfg *Config, e env) []check {
	if len(cfg.Sinks) == 0 {
		return []check{{Area: "sinks", Name: "none", State: plain, Detail: "rows stay in the journal; give --influxdb-url or --sink"}}
	}
	var out []check
	for _, spec := range cfg.Sinks {
		kind, _, _ := strings.Cut(spec, ":")
		if kind != "influxdb" && kind != "kafka" {
			out = append(out, check{Area: "sinks", Name: spec, State: good})
			continue
		}
		s, err := openSink(cfg, spec, e, slog.New(slog.DiscardHandler))
		if err != nil {
			out = append(out, check{Area: "sinks", Name: spec, State: bad, Detail: err.Error()})
			continue
		}
		out = append(out, examineServer(ctx, kind, s)...)
	}
	return out
}

// examineServer asks where rows go to whether they would arrive.
func examineServer(ctx context.Context, kind string, s sink.Sink) (out []check) {
	defer s.Close(ctx)
	server, ok := s.(sink.Checker)
	if !ok {
		return []check{{Area: "sinks", Name: kind, State: good}}
	}
	ask, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, f := range server.Check(ask) {
		c := check{Area: "sinks", Name: kind + " " + f.Subject, State: good, Detail: f.Detail, Remedy: f.Remedy}
		switch {
		case f.Away: // the probe does its job: it keeps the rows
			c.State = limited
		case f.Problem:
			c.State = bad
		}
		out = append(out, c)
	}
	return out
}

func examineLimits(cfg *Config) []check {
	const area = "limits"
	return []check{
		{Area: area, Name: "flows in the kernel", State: plain, Detail: strconv.Itoa(cfg.MaxFlows)},
		{Area: area, Name: "series per measurement", State: plain, Detail: strconv.Itoa(cfg.Rows.SeriesBudget)},
		{Area: area, Name: "flow_log rows/s", State: plain, Detail: strconv.Itoa(cfg.FlowLogRate)},
		{Area: area, Name: "connections in memory", State: plain, Detail: strconv.Itoa(cfg.Join.MaxConnections)},
	}
}
