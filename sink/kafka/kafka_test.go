package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/kafka"
	"github.com/weir-probe/weir/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "weir"

// cluster is the protocol of a broker, in this process.
func cluster(t *testing.T, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic, topic+"_log")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, cfg kafka.Config) *kafka.Sink {
	t.Helper()
	s, err := kafka.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func to(c *kfake.Cluster) kafka.Config {
	return kafka.Config{Brokers: c.ListenAddrs(), Topic: topic, Timeout: 10 * time.Second}
}

// consume returns the messages of a topic, those of each partition in order.
func consume(t *testing.T, brokers []string, topic string) (got []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for quiet := 0; quiet < 3; {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		f := client.PollFetches(ctx)
		cancel()
		if f.NumRecords() == 0 {
			quiet++
			continue
		}
		quiet = 0
		got = append(got, f.Records()...)
	}
	return got
}

func lines(records []*kgo.Record) (all []string) {
	for _, r := range records {
		all = append(all, strings.Split(strings.TrimSuffix(string(r.Value), "\n"), "\n")...)
	}
	return all
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Subject {
		c := cluster(t, 1)
		return sinktest.Subject{Sink: open(t, to(c)), Lines: func(s sink.Stream) []string {
			return lines(consume(t, c.ListenAddrs(), []string{topic, topic + "_log"}[s]))
		}}
	})
}

// TestKeys: the rows of one edge are one message where they stand together, and on one
// partition wherever they stand, in order; their measurement does not matter.
func TestKeys(t *testing.T) {
	c := cluster(t, 8)
	s := open(t, to(c))
	var b bytes.Buffer
	const edges, intervals = 40, 5
	rows := 0
	for i := range intervals {
		for e := range edges {
			for _, m := range []string{"flow", "flow_latency"} {
				fmt.Fprintf(&b, "%s,client=a\\ b%d,server=x\\,y v=%di %d\n", m, e, i, sinktest.Base+int64(i))
				rows++
			}
		}
	}
	if err := s.Write(t.Context(), &sink.Batch{Rows: rows, Lines: b.Bytes()}); err != nil {
		t.Fatal(err)
	}
	got := consume(t, c.ListenAddrs(), topic)
	if len(got) != edges*intervals {
		t.Errorf("%d messages, want %d", len(got), edges*intervals)
	}
	partition, next, used := map[string]int32{}, map[string]int{}, map[int32]bool{}
	for _, r := range got {
		k := string(r.Key)
		if !strings.HasPrefix(k, `client=a\ b`) || !strings.HasSuffix(k, `,server=x\,y`) {
			t.Fatalf("key %q", k)
		}
		if p, ok := partition[k]; ok && p != r.Partition {
			t.Errorf("%s is on partitions %d and %d", k, p, r.Partition)
		}
		partition[k] = r.Partition
		used[r.Partition] = true
		want := fmt.Sprintf("v=%di ", next[k])
		if next[k]++; strings.Count(string(r.Value), want) != 2 || strings.Count(string(r.Value), "\n") != 2 {
			t.Fatalf("message %q, want two rows with %s", r.Value, want)
		}
	}
	if len(used) < 4 {
		t.Errorf("%d of 8 partitions are used", len(used))
	}
	all := lines(got)
	want := strings.Split(strings.TrimSpace(b.String()), "\n")
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("%d rows arrived, want %d", len(all), len(want))
	}
}

// answer makes the cluster answer every produce request with an error.
func answer(c *kfake.Cluster, code *kerr.Error) {
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func TestErrorsAreClassified(t *testing.T) {
	var config *sink.ConfigError
	var refused *sink.RefusedError
	for _, c := range []struct {
		code *kerr.Error
		as   any // pointer to the type, or an error
	}{
		{kerr.MessageTooLarge, sink.ErrTooLarge},
		{kerr.RecordListTooLarge, sink.ErrTooLarge},
		{kerr.TopicAuthorizationFailed, &config},
		{kerr.ClusterAuthorizationFailed, &config},
		{kerr.InvalidRecord, &refused},
		{kerr.NotEnoughReplicas, nil},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			k := cluster(t, 1)
			answer(k, c.code)
			cfg := to(k)
			cfg.Timeout = time.Second
			err := open(t, cfg).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3))
			if err == nil {
				t.Fatal("accepted")
			}
			ok := false
			switch as := c.as.(type) {
			case error:
				ok = errors.Is(err, as)
			case **sink.ConfigError:
				ok = errors.As(err, as) && strings.Contains((*as).Remedy, topic)
			case **sink.RefusedError:
				ok = errors.As(err, as)
			case nil:
				ok = !errors.As(err, &config) && !errors.As(err, &refused) && !errors.Is(err, sink.ErrTooLarge)
			}
			if !ok {
				t.Errorf("got %T %v", err, err)
			}
		})
	}
}

func TestMissingTopicThenCreated(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := open(t, to(c))
	e, ok := errors.AsType[*sink.ConfigError](s.Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3)))
	if !ok || !strings.Contains(e.Remedy, "kafka-topics.sh --create --topic "+topic) {
		t.Fatalf("got %v", e)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 1
	req.Topics = append(req.Topics, rt)
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := s.Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if got := lines(consume(t, c.ListenAddrs(), topic)); len(got) != 3 {
		t.Errorf("got %q", got)
	}
}

func TestPasswords(t *testing.T) {
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "weir", "s3cret"))
		cfg := to(c)
		cfg.Mechanism, cfg.Username, cfg.Password = mechanism, "weir", "s3cret"
		if err := open(t, cfg).Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 3)); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
}

// TestCaseJ4_BrokerAway: through journal and Deliverer; the broker fails now and then,
// with rows taken and the answer lost among it. All rows are there, in order.
func TestCaseJ4_BrokerAway(t *testing.T) {
	c := cluster(t, 1)
	cfg := to(c)
	cfg.Timeout = 500 * time.Millisecond
	s := open(t, cfg)
	n := 0
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if n++; n%2 == 1 {
			return nil, errors.New("hang up"), true
		}
		return nil, nil, false
	})
	j, err := journal.Open(journal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	q, err := j.Queue(s.Name(), sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	d := sink.NewDeliverer(s, q, sink.Main, sink.DeliverConfig{Limit: sink.Limit{Rows: 500}, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	const rows = 4000
	for i := range rows / 500 {
		if err := j.Append(sinktest.Batch(sink.Main, "m", 500*i, 500)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(60 * time.Second); d.Stats().Queue.Rows > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not delivered: %+v", d.Stats())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st := d.Stats(); st.Rows != rows || st.Rejected() != 0 || st.Queue.Lost != 0 {
		t.Errorf("%+v", st)
	}
	q.Close()
	j.Close()
	next := 0
	for _, l := range lines(consume(t, c.ListenAddrs(), topic)) {
		var v int
		if _, err := fmt.Sscanf(l, "m,host=a v=%di", &v); err != nil {
			t.Fatal(err)
		}
		if v > next {
			t.Fatalf("row %d comes where %d is due", v, next)
		}
		next = max(next, v+1)
	}
	if next != rows {
		t.Errorf("%d of %d rows arrived", next, rows)
	}
}

// TestBrokersThatDoNotAnswer: a shutdown is not held up.
func TestBrokersThatDoNotAnswer(t *testing.T) {
	c := cluster(t, 1)
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		arrived <- struct{}{}
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	defer close(release)
	s := open(t, to(c))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Write(ctx, sinktest.Batch(sink.Main, "m", 0, 3)) }()
	<-arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestParse(t *testing.T) {
	for spec, want := range map[string]string{
		"kafka://b1/weir":              "[b1:9092] weir",
		"kafka://b1:9093,[::1]:9/w.x":  "[b1:9093 [::1]:9] w.x",
		"kafka://b1":                   "",
		"kafka://b1/":                  "",
		"kafka:///weir":                "",
		"kafka://user:pw@b1:9092/weir": "",
		"kafka://b1/we ir":             "",
	} {
		c, err := kafka.Parse(spec)
		got := fmt.Sprint(c.Brokers, " ", c.Topic)
		if (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: got %q, %v, want %q", spec, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw@") {
			t.Errorf("%s: the error shows a password: %v", spec, err)
		}
	}
}
