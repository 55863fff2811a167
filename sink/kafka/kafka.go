package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-probe/weir/sink"
)

// What the client may hold: a batch of each stream in messages of a row each, and the
// same again that was given up and not yet taken back.
const (
	maxRecords = 4 * 5000
	maxBytes   = 32 << 20
)

// Sink is a producer of a cluster. Rows of one series go to one partition, in order.
type Sink struct {
	name   string
	cfg    Config
	topics [sink.Streams]string
	client *kgo.Client
	closed atomic.Bool
}

// New makes a Sink; nothing is sent before the first Write.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{name: prefix + strings.Join(cfg.Brokers, ",") + "/" + cfg.Topic, cfg: cfg}
	s.topics[sink.Main], s.topics[sink.Log] = cfg.Topic, cfg.logTopic()
	opts, err := cfg.connection(cfg.Brokers...)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Rows that come twice are one row in the database, so what a broker remembers
		// of a producer buys nothing; without it a write can be given up at any time, and
		// the producer needs no right but to write. One request at a time keeps the order.
		kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.SnappyCompression(), kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2, as the Java client has it
		kgo.MaxBufferedRecords(maxRecords), kgo.MaxBufferedBytes(maxBytes),
		kgo.RecordRetries(2), kgo.UnknownTopicRetries(0), kgo.RecordDeliveryTimeout(cfg.timeout()),
		kgo.ProduceRequestTimeout(cfg.timeout()))
	if s.client, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("kafka: make a client: %w", err)
	}
	return s, nil
}

// Name of the sink.
func (s *Sink) Name() string { return s.name }

// Write produces the batch and waits until all replicas in sync have it. When it fails
// some rows may be there; they come again with the batch.
func (s *Sink) Write(ctx context.Context, b *sink.Batch) error {
	if s.closed.Load() {
		return fmt.Errorf("write to %s: %w", s.name, os.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// The client says why it gives up after timeout; this is for when it does not.
	ctx, cancel := context.WithTimeout(ctx, s.cfg.timeout()*3/2)
	defer cancel()
	topic := s.topics[b.Stream]
	records := messages(topic, bytes.Clone(b.Lines)) // the client may hold them when we have left
	results := make(chan error, len(records))
	for _, r := range records {
		s.client.Produce(ctx, r, func(_ *kgo.Record, err error) { results <- err })
	}
	var errs outcome
	for range records {
		select {
		case err := <-results:
			errs.add(err)
		case <-ctx.Done():
			return fmt.Errorf("write to topic %s at %s: no answer in time: %w", topic, s.name, errors.Join(context.Cause(ctx), errs.first))
		}
	}
	return errs.classify(s, topic)
}

// messages cuts lines into messages: neighbours of one series' tags are one.
func messages(topic string, lines []byte) (records []*kgo.Record) {
	var last *kgo.Record
	from := 0
	for at := 0; at < len(lines); {
		end := len(lines)
		if i := bytes.IndexByte(lines[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		k := key(lines[at:end])
		if last == nil || !bytes.Equal(last.Key, k) {
			last = &kgo.Record{Topic: topic, Key: k}
			records = append(records, last)
			from = at
		}
		last.Value = lines[from:end:end]
		at = end
	}
	return records
}

// key is what a line has for tags, without its measurement: rows of flow, flow_latency
// and flow_error of one edge have the same.
func key(line []byte) []byte {
	from := -1
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case ',':
			if from < 0 {
				from = i + 1
			}
		case ' ':
			if from < 0 {
				return line[:i] // no tags
			}
			return line[from:i]
		}
	}
	return line
}

// Close gives up what is on its way. Writes after it fail.
func (s *Sink) Close(context.Context) error {
	if !s.closed.Swap(true) {
		s.client.Close()
	}
	return nil
}
