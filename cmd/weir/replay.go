package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich"
	"github.com/weir-probe/weir/correlate/requests"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/capture"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/live"
)

func replayCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay FILE…",
		Short: "Run the pipeline over pcap or pcapng files, at file time",
		Long: "Reads packets from capture files (pcap, pcapng, also gzipped; - for standard input) and writes the\n" +
			"rows that a live probe would have written, at the time of the packets. A file knows no sockets: rows\n" +
			"say attribution=none. Ends with a summary on standard error.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("replay: no file named: weir replay FILE… (- for standard input)")
			}
			return nil
		},
	}
	flags := bindFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := flags.load(e)
		if err != nil {
			return err
		}
		if !flags.given("flow-log-rate") {
			cfg.Rows.FlowLogRate = -1 // a file can be read at leisure: no limit
		}
		return replay(cmd.Context(), &cfg, args, e)
	}
	return cmd
}

// replayer joins the flows of files and writes them out, one interval at a time.
type replayer struct {
	join     *correlate.Joiner
	requests *requests.Tracker // nil: payload is not looked at
	outside  outside
	out      *output
	interval time.Duration
	flows    uint64
	records  uint64
	octets   uint64
	failed   uint64
}

func (r *replayer) Flow(f *flows.Record) { r.flows++; r.join.Flow(f) }
func (r *replayer) NAT(n *flows.NAT)     { r.join.NAT(n) }

// packet takes a packet's payload, where that is looked at.
func (r *replayer) packet(p *flows.Packet, data []byte) {
	r.requests.Packet(p, data)
	if r.outside.dns != nil {
		r.outside.dns.Packet(p, data)
	}
}

func (r *replayer) tick(now int64, phase correlate.Phase) {
	t := time.Unix(0, now)
	r.outside.tick(now)
	r.join.Tick(t, phase, func(rec *correlate.Record) {
		if r.requests != nil {
			r.requests.Take(rec)
		}
		r.records++
		r.octets += rec.Delta.ToServer.WireOctets + rec.Delta.ToClient.WireOctets
		r.failed += uint64(rec.Delta.FailedTotal())
		r.out.add(rec, t)
	})
	if r.requests != nil {
		r.requests.Tick(t)
	}
	r.out.flush(t, r.interval, live.Health{Sink: "replay"})
}

func replay(ctx context.Context, cfg *Config, files []string, e env) error {
	log := newLog(cfg, e)
	// A replay has no history of its own: rows wait in memory.
	cfg.Journal = JournalConfig{explicit: true}
	d, err := openDelivery(cfg, e, log)
	if err != nil {
		return err
	}
	q := newQueue(256 << 20)
	q.wait = true // a file can wait for a slow sink
	// A file knows neither sockets nor this host's addresses: multicast, what DNS
	// answers in it name, named networks, and the outside.
	elsewhere, err := newOutside(&cfg.Names)
	if err != nil {
		return errors.Join(err, d.close())
	}
	who, err := enrich.New(enrich.Config{Hostname: cfg.Host, Names: elsewhere.names(), Subnets: named(cfg.Subnets), Nodes: named(cfg.Nodes), Zones: cfg.zones(), Ranges: elsewhere.ranges})
	if err != nil {
		return errors.Join(err, d.close())
	}
	r := &replayer{
		join:     correlate.New(cfg.Join, who),
		requests: newTracker(cfg, nil),
		outside:  elsewhere,
		out:      newOutput(cfg.Rows, sink.NewSelf(cfg.Rows), q),
		interval: cfg.Interval,
	}
	stop := d.start(ctx, q)
	total, read, err := r.files(ctx, cfg, files)
	q.close()
	err = errors.Join(err, stop(replayDrain))
	if read == 0 {
		return err
	}
	fmt.Fprintf(e.stderr, "replayed %d files: %d packets, %d octets in %d flows; %d rows, %d of flow_log; %d attempts failed; not flows: %d, malformed: %d, truncated frames: %d\n",
		read, total.Packets, total.Octets, total.Meter.FlowsCreated, r.out.edges.Stats().Rows, r.out.log.Stats().Rows, r.failed,
		total.NonIPPackets, total.MalformedPackets+total.UnsupportedPackets, total.TruncatedPackets)
	return err
}

// replayDrain is how long a replay waits for its sinks at the end.
const replayDrain = 60 * time.Second

// files replays one file after the other; what is open at the end of the last is
// told as forced. read is how many files could be read, at least in part.
func (r *replayer) files(ctx context.Context, cfg *Config, files []string) (total capture.MeteredStats, read int, err error) {
	var last int64
	for _, path := range files {
		before := total.Packets
		err = r.file(ctx, cfg, path, &last, &total)
		if err == nil || total.Packets > before {
			read++
		}
		if err != nil {
			break
		}
	}
	if last != 0 {
		r.tick(last, correlate.Draining)
	}
	return total, read, err
}

// file replays one file; last is the end of the last interval told.
func (r *replayer) file(ctx context.Context, cfg *Config, path string, last *int64, total *capture.MeteredStats) error {
	src, err := capture.OpenFile(path, capture.FileConfig{})
	if err != nil {
		return err
	}
	mc := capture.MeteredConfig{Meter: flows.MeterConfig{MaxFlows: cfg.MaxFlows}}
	if r.requests != nil {
		mc.Payload = r.packet
	}
	m := capture.NewMetered(src, mc)
	defer m.Close()
	err = m.Replay(ctx, cfg.Interval, r, func(now int64) error {
		*last = now
		r.tick(now, correlate.Running)
		return nil
	})
	add(total, m.Stats())
	return err
}

func add(a *capture.MeteredStats, b capture.MeteredStats) {
	a.Packets += b.Packets
	a.Octets += b.Octets
	a.Meter.FlowsCreated += b.Meter.FlowsCreated
	a.NonIPPackets += b.NonIPPackets
	a.MalformedPackets += b.MalformedPackets
	a.UnsupportedPackets += b.UnsupportedPackets
	a.TruncatedPackets += b.TruncatedPackets
}
