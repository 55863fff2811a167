package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/requests"
	"github.com/weir-probe/weir/flows/conntrack"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/alert"
)

// kernelSide is what stands before the encoded row: the hooks, the packet path,
// who is who, and the connections being joined. A reload keeps it, and makes anew
// only what the new configuration changes: meanwhile events wait in the kernel's
// rings, so that no connection is missed.
type kernelSide struct {
	cfg     *Config
	started time.Time
	sockets socketPath
	packets packetPath
	nats    *conntrack.Watcher // translations that packets do not tell
	who     *identities
	join    *correlate.Joiner
	asked   *requests.Tracker // nil: payload is not looked at
	inside  *insideTLS        // nil: nothing is looked into
	used    *resources        // nil: nobody asks what containers use
	happen  happenings
	odd     *anomalies // nil: nobody asks what is unusual
	alerts  *alert.Manager
	places  *places
	full    *conntrack.Full
	self    *sink.Self // remembers what was told of the counters above
	known   bool       // what existed before the probe has been told
	loaded  kprobes.Config
	waits   []string // settings that were read and take effect when weir starts again
}

// openKernelSide loads and attaches everything.
func openKernelSide(ctx context.Context, cfg *Config, log *slog.Logger) (k *kernelSide, err error) {
	k = &kernelSide{cfg: cfg, started: time.Now(), self: sink.NewSelf(cfg.Rows), happen: newHappenings(), loaded: payloadConfig(kprobes.Config{}, cfg)}
	defer func() {
		if err != nil {
			k.close()
			k = nil
		}
	}()
	warnVantage(log)
	if k.packets, err = openPackets(ctx, cfg, log); err != nil {
		return k, err
	}
	if k.sockets, err = openSockets(payloadConfig(kprobes.Config{Log: log}, cfg)); err != nil {
		if k.packets.Status().Mode == "off" {
			return k, fmt.Errorf("socket path: %w", err)
		}
		log.Error("no socket path: rows have no processes, only packets and what addresses tell; weir doctor says more", "err", err)
		status, _ := kprobes.Probe(payloadConfig(kprobes.Config{}, cfg)) // err has been said
		k.sockets = noSockets{status}
	}
	if k.who, err = newIdentities(cfg, log); err != nil {
		return k, err
	}
	k.nats = openNATs(k.packets, k.sockets, log)
	k.join = correlate.New(joinConfig(cfg, k.nats, k.who), k.who.chain)
	k.asked = newTracker(cfg, payloadSelector{k.sockets})
	k.inside = newInsideTLS(cfg, k.sockets, log)
	k.used, k.full = newResources(cfg, log), newFull()
	k.odd, k.places = newAnomalies(cfg, log), newPlaces(cfg, log)
	if k.alerts, err = newAlerts(cfg, log); err != nil {
		return k, err
	}
	return k, nil
}

func joinConfig(cfg *Config, nats *conntrack.Watcher, who *identities) correlate.Config {
	jc := cfg.Join
	jc.HostNetNS = hostNetNS()
	jc.Waited, jc.Service = who.outside.waited, who.outside.service
	if nats.Active() {
		if jc.LateNAT = jc.Hold; jc.LateNAT == 0 {
			jc.LateNAT = correlate.DefaultConfig().Hold
		}
	}
	return jc
}

// adapt makes k what cfg asks for. With an error k is as it was.
func (k *kernelSide) adapt(ctx context.Context, cfg *Config, log *slog.Logger) error {
	old := k.cfg
	packets, who := k.packets, k.who
	var err error
	if cfg.Packets != old.Packets || cfg.MaxFlows != old.MaxFlows || !slices.Equal(cfg.Interfaces, old.Interfaces) {
		if packets, err = openPackets(ctx, cfg, log); err != nil {
			return err
		}
	}
	if cfg.Docker != old.Docker || !slices.Equal(cfg.Runtimes, old.Runtimes) || cfg.Cmdline != old.Cmdline || !reflect.DeepEqual(cfg.Names, old.Names) || cfg.Host != old.Host || !cfg.sameNetworks(old) {
		if who, err = newIdentities(cfg, log); err != nil {
			if packets != k.packets {
				err = errors.Join(err, packets.Close())
			}
			return err
		}
	}
	if err := k.alerts.Reconfigure(alertConfig(cfg, log)); err != nil {
		if packets != k.packets {
			err = errors.Join(err, packets.Close())
		}
		return err
	}
	if who != k.who {
		k.known = false // the new tables know nobody yet
	}
	if packets != k.packets {
		if err := k.packets.Close(); err != nil {
			log.Warn("close the old packet path", "err", err)
		}
	}
	if cfg.Host != old.Host {
		k.self = sink.NewSelf(cfg.Rows)
	}
	if packets != k.packets {
		k.nats = openNATs(packets, k.sockets, log)
	}
	if cfg.L7 != old.L7 {
		k.asked = newTracker(cfg, payloadSelector{k.sockets})
	}
	tlsWaits := slices.Contains(k.waits, "tls")
	k.waits = k.payloadWaits(cfg)
	if tlsWaits || !slices.Equal(cfg.TLS, old.TLS) {
		k.adaptTLS(cfg, log)
	}
	if len(k.waits) > 0 {
		log.Warn("some settings take effect when weir starts again", "settings", k.waits)
	}
	if cfg.Resources != old.Resources {
		k.used = newResources(cfg, log)
	}
	if cfg.Anomaly.Mode != old.Anomaly.Mode || cfg.detector().State != old.detector().State {
		k.odd = newAnomalies(cfg, log)
	} else {
		k.odd.adapt(cfg)
	}
	k.cfg, k.packets, k.who = cfg, packets, who
	k.join.Reconfigure(joinConfig(cfg, k.nats, k.who), who.chain)
	return nil
}

// payloadWaits names the settings of payload that differ from what the kernel was loaded
// with: programs that copy less or more are other programs.
func (k *kernelSide) payloadWaits(cfg *Config) (names []string) {
	is := payloadConfig(kprobes.Config{}, cfg)
	if is.Payload != k.loaded.Payload || (is.PayloadOctets == kprobes.PayloadNone) != (k.loaded.PayloadOctets == kprobes.PayloadNone) {
		names = append(names, "l7")
	} else if is.PayloadOctets != k.loaded.PayloadOctets {
		names = append(names, "l7_octets")
	}
	if is.PayloadRate != k.loaded.PayloadRate {
		names = append(names, "l7_rate")
	}
	return names
}

// adaptTLS loads what looks inside TLS, or takes it down. The pipeline before has left
// nothing attached to it.
func (k *kernelSide) adaptTLS(cfg *Config, log *slog.Logger) {
	k.inside = nil
	if set, ok := k.sockets.(*kprobes.Set); ok {
		if err := set.SetTLS(len(cfg.TLS) > 0); err != nil {
			log.Error("tls: not switched", "err", err)
			k.waits = append(k.waits, "tls")
			return
		}
	}
	k.inside = newInsideTLS(cfg, k.sockets, log)
}

// learn tells h what existed before the probe, once.
func (k *kernelSide) learn(ctx context.Context, h kprobes.Handler, log *slog.Logger) error {
	if k.known {
		return nil
	}
	if err := k.who.bootstrap(ctx); err != nil {
		log.Warn("containers of existing sockets may be unknown", "err", err)
	}
	if err := k.sockets.Bootstrap(h); err != nil {
		return fmt.Errorf("find existing sockets: %w", err)
	}
	k.known = true
	return nil
}

// close detaches from the kernel.
func (k *kernelSide) close() {
	if k.packets != nil {
		k.packets.Close()
	}
	if k.sockets != nil {
		k.sockets.Close()
	}
	if k.alerts != nil {
		k.alerts.Close()
	}
}
