package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/kafka"
	"github.com/weir-probe/weir/sink/sinktest"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/kafkad"
)

// create makes a topic, of some partitions, and waits until it has a leader.
func create(t *testing.T, broker, topic string, partitions int32) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, 1
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 30000
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil || resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("create topic %s: %v %+v", topic, err, resp)
	}
}

// written brings a batch there as a Deliverer would: a new topic takes a moment.
func written(t *testing.T, s sink.Sink, b *sink.Batch) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := s.Write(t.Context(), b)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestRealKafka: what a missing topic and a wrong password look like there; a broker
// that is killed in the middle; and the path to the database, with a consumer that does
// what Telegraf does with data_format "influx".
func TestRealKafka(t *testing.T) {
	srv := kafkad.Start(t)
	cfg := kafka.Config{Brokers: []string{srv.Broker}, Topic: topic, Timeout: 10 * time.Second}
	t.Run("missing topic", func(t *testing.T) {
		e, ok := errors.AsType[*sink.ConfigError](open(t, cfg).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3)))
		if !ok || !strings.Contains(e.Remedy, "kafka-topics.sh") {
			t.Errorf("got %v", e)
		}
	})
	create(t, srv.Broker, topic, 3)
	t.Run("password", func(t *testing.T) {
		cfg := cfg
		cfg.Brokers, cfg.Mechanism, cfg.Username, cfg.Password = []string{srv.UserBroker}, "plain", kafkad.User, "wr0ng-one"
		err := open(t, cfg).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3))
		e, ok := errors.AsType[*sink.ConfigError](err)
		if !ok || !strings.Contains(e.Remedy, "WEIR_KAFKA_PASSWORD") || strings.Contains(e.Error(), "wr0ng") {
			t.Errorf("got %v", err)
		}
		create(t, srv.Broker, "users", 1)
		cfg.Topic, cfg.Password = "users", kafkad.Password
		written(t, open(t, cfg), sinktest.Batch(sink.Main, "m", 0, 3))
		if got := lines(consume(t, []string{srv.Broker}, "users")); len(got) != 3 {
			t.Errorf("got %q", got)
		}
	})
	t.Run("TLS", func(t *testing.T) { safely(t, srv, cfg) })
	t.Run("check", func(t *testing.T) { checked(t, srv, cfg) })
	t.Run("killed", func(t *testing.T) { killed(t, srv, cfg) })
	t.Run("to the database", func(t *testing.T) { toDatabase(t, srv) })
}

// safely writes by TLS, and as a user by SCRAM, which is the default. A broker that nobody
// vouches for, or a wrong password, gets no row and is no reason to lose one.
func safely(t *testing.T, srv *kafkad.Server, cfg kafka.Config) {
	cfg.Brokers, cfg.Topic, cfg.TLS, cfg.Username, cfg.Password = []string{srv.SafeBroker}, "safe", true, kafkad.User, kafkad.Password
	create(t, srv.Broker, cfg.Topic, 1)
	err := open(t, cfg).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3))
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), kafkad.Password) {
		t.Errorf("without its authority: %v", err)
	}
	if _, refused := errors.AsType[*sink.RefusedError](err); refused {
		t.Errorf("rows are lost: %v", err)
	}
	cfg.CAFile = srv.CAFile
	wrong := cfg
	wrong.Password = "wr0ng-one"
	err = open(t, wrong).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3))
	if e, ok := errors.AsType[*sink.ConfigError](err); !ok || !strings.Contains(e.Remedy, "WEIR_KAFKA_PASSWORD") {
		t.Errorf("a wrong password: %v", err)
	}
	written(t, open(t, cfg), sinktest.Batch(sink.Main, "m", 0, 3))
	if got := lines(consume(t, []string{srv.Broker}, cfg.Topic)); len(got) != 3 {
		t.Errorf("got %q", got)
	}
}

func killed(t *testing.T, srv *kafkad.Server, cfg kafka.Config) {
	s := open(t, cfg)
	j, err := journal.Open(journal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	q, err := j.Queue(s.Name(), sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	d := sink.NewDeliverer(s, q, sink.Main, sink.DeliverConfig{Limit: sink.Limit{Rows: 500}, MinBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	until := func(what string, ok func(sink.DeliverStats) bool) sink.DeliverStats {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if s := d.Stats(); ok(s) {
				return s
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, s)
			}
		}
	}
	const batches = 40
	for i := range batches {
		if err := j.Append(sinktest.Batch(sink.Main, "m", 500*i, 500)); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 15:
			until("some are in", func(s sink.DeliverStats) bool { return s.Rows > 3000 })
			srv.Kill(t)
		case 30:
			until("noticed", func(s sink.DeliverStats) bool { return s.LastError != "" })
			srv.Run(t)
		}
	}
	st := until("delivered", func(s sink.DeliverStats) bool { return s.Queue.Rows == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st.Failed == 0 || st.Queue.Lost != 0 || st.Rejected() != 0 {
		t.Errorf("%+v", st)
	}
	got := lines(consume(t, []string{srv.Broker}, topic))
	slices.Sort(got)
	got = slices.Compact(got) // twice is harmless
	want := strings.Split(strings.TrimSpace(string(sinktest.Batch(sink.Main, "m", 0, 500*batches).Lines)), "\n")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d different rows arrived of %d", len(got), len(want))
	}
}

func toDatabase(t *testing.T, srv *kafkad.Server) {
	db := influxd.Start(t, influxd.V1)
	create(t, srv.Broker, "db", 4)
	s := open(t, kafka.Config{Brokers: []string{srv.Broker}, Topic: "db", Timeout: 10 * time.Second})
	for i := range 3 {
		written(t, s, sinktest.Batch(sink.Main, "m", 1000*i, 1000))
	}
	written(t, s, sinktest.Batch(sink.Main, "m", 0, 1000)) // sent again
	var body bytes.Buffer
	for _, r := range consume(t, []string{srv.Broker}, "db") {
		body.Write(r.Value)
	}
	resp, err := http.Post(db.URL+"/write?db="+influxd.Bucket, "text/plain", &body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := db.QueryInfluxQL(t, influxd.Bucket, `SELECT count(v), sum(v) FROM m`)
	if resp.StatusCode != http.StatusNoContent || len(got) != 1 || got[0].Values["count"] != json.Number("3000") || got[0].Values["sum"] != json.Number("4498500") {
		t.Errorf("status %s, the database has %v", resp.Status, got)
	}
}
