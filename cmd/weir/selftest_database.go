package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/weir-probe/weir/cmd/weir/internal/selftest"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
)

// shipper sends the rows of a selftest to the database by the way that all rows
// go (journal, deliverers, client), reads them back, and deletes them. The probe
// of a selftest has a network of its own and can't do that itself.
type shipper struct {
	cfg  Config
	e    env
	log  *slog.Logger
	keep bool
}

func (s *shipper) ship(ctx context.Context, host, rows string) (*selftest.Found, error) {
	db, err := influxdb.New(s.cfg.InfluxDB.sink())
	if err != nil {
		return nil, err
	}
	defer db.Close(ctx)
	for _, f := range db.Check(ctx) {
		if f.Problem {
			return nil, fmt.Errorf("database: %s: %s; %s", f.Subject, oneLine(f.Detail), oneLine(f.Remedy))
		}
	}
	err = s.send(ctx, rows)
	found := &selftest.Found{}
	if err == nil {
		err = fetch(ctx, db, host, found)
	}
	if s.keep {
		fmt.Fprintf(s.e.stderr, "the rows stay in %s under host=%s\n", db, host)
		return found, err
	}
	if gone := db.DeleteHost(ctx, host); gone != nil {
		s.log.Warn("the rows of this selftest stay in the database", "host", host, "err", gone)
	}
	return found, err
}

// send gives a file of rows to the delivery and waits until it is through.
func (s *shipper) send(ctx context.Context, rows string) error {
	cfg := s.cfg
	cfg.Sinks, cfg.Journal = []string{"influxdb"}, JournalConfig{explicit: true} // in memory
	d, err := openDelivery(&cfg, s.e, s.log)
	if err != nil {
		return err
	}
	q := newQueue(256 << 20)
	q.wait = true
	stop := d.start(ctx, q)
	err = batches(rows, q.put)
	q.close()
	return errors.Join(err, stop(replayDrain))
}

// batches cuts a file of rows into batches of each stream.
func batches(path string, put func(*sink.Batch)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the probe's rows: %w", err)
	}
	defer f.Close()
	const full = 1 << 20
	var all [sink.Streams]sink.Batch
	in := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the probe's rows: %w", err)
		}
		stream := sink.Main
		if bytes.HasPrefix(line, []byte(sink.MeasurementFlowLog+",")) {
			stream = sink.Log
		}
		b := &all[stream]
		b.Stream, b.Time = stream, time.Now().UnixNano()
		b.Lines, b.Rows = append(b.Lines, line...), b.Rows+1
		if len(b.Lines) > full {
			put(b)
			*b = sink.Batch{}
		}
	}
	for i := range all {
		put(&all[i])
	}
	return nil
}

// fetch reads a host's rows.
func fetch(ctx context.Context, db *influxdb.Sink, host string, into *selftest.Found) error {
	for _, m := range selftest.Measurements {
		stream := sink.Main
		if m == sink.MeasurementFlowLog {
			stream = sink.Log
		}
		q := fmt.Sprintf(`SELECT * FROM %q WHERE %q = '%s'`, m, sink.TagHost, strings.ReplaceAll(host, `'`, ``))
		err := db.Query(ctx, stream, q, func(row map[string]any) error {
			into.Add(m,
				func(k string) string { s, _ := row[k].(string); return s },
				func(k string) int64 {
					x, _ := row[k].(json.Number)
					n, _ := x.Int64()
					return n
				})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
