package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Topics that are there from the beginning; produce to slow and ListGroups take their
// time.
const (
	orders = "orders"
	slow   = "slow"
)

func serveKafka(address string) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, orders, slow),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return listen(network, address) }))
	if err != nil {
		return err
	}
	defer c.Close()
	late := func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if p, ok := q.(*kmsg.ProduceRequest); !ok || len(p.Topics) > 0 && p.Topics[0].Topic == slow {
			c.SleepControl(func() { time.Sleep(delay) })
		}
		return nil, nil, false
	}
	c.ControlKey(int16(kmsg.Produce), late)
	c.ControlKey(int16(kmsg.ListGroups), late)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-ctx.Done()
	return nil
}

// listen listens on this container's own address if there is none in address: a
// broker tells its clients where it listens.
func listen(network, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "" {
		return net.Listen(network, address)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return net.Listen(network, net.JoinHostPort(n.IP.String(), port))
		}
	}
	return nil, errors.New("no address but loopback")
}

// kafkaClient asks one broker.
type kafkaClient struct {
	ctx    context.Context
	client *kgo.Client
}

// dial connects; the newest versions name topics by ids, these by their names.
func dial(ctx context.Context, address string, more ...kgo.Opt) (*kafkaClient, error) {
	c, err := kgo.NewClient(append(more, kgo.SeedBrokers(address), kgo.MaxVersions(kversion.V3_0_0()), kgo.ProducerLinger(0), kgo.ClientID("shop"))...)
	if err != nil {
		return nil, err
	}
	return &kafkaClient{ctx, c}, c.Ping(ctx)
}

// ask sends a request to the broker, once, and writes which error its answer has.
func (k *kafkaClient) ask(n int, operation string, q kmsg.Request, code func(kmsg.Response) int16) error {
	for range n {
		began := time.Now()
		r, err := k.client.Broker(0).Request(k.ctx, q)
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		name := "ok"
		if err := kerr.ErrorForCode(code(r)); err != nil {
			var e *kerr.Error
			if !errors.As(err, &e) {
				return fmt.Errorf("%s: %w", operation, err)
			}
			name = e.Message
		}
		asked{L7: "kafka", Operation: operation, Status: name, Failed: name != "ok", NS: took.Nanoseconds()}.write()
	}
	return nil
}

// produce sends a record at a time.
func (k *kafkaClient) produce(n int, topic, status string, size int) error {
	for range n {
		began := time.Now()
		err := k.client.ProduceSync(k.ctx, &kgo.Record{Topic: topic, Key: []byte("user:1"), Value: append(make([]byte, size), "s3cret"...)}).FirstErr()
		if err != nil {
			return fmt.Errorf("produce to %s: %w", topic, err)
		}
		asked{L7: "kafka", Operation: "Produce " + topic, Status: status, NS: time.Since(began).Nanoseconds()}.write()
	}
	return nil
}

func askKafka(address string) error {
	ctx := context.Background()
	if err := await(address); err != nil {
		return err
	}
	k, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer k.client.Close()
	steps := []func() error{
		func() error { return k.produce(20, orders, "ok", 100) },
		func() error { return k.produce(5, orders, "ok", 30000) },
		func() error { return k.produce(5, slow, "ok", 10) },
		func() error { return k.ask(8, "Fetch orders", fetch(), fetched) },
		func() error { return k.ask(5, "ListGroups", kmsg.NewPtrListGroupsRequest(), groups) },
		func() error { return k.ask(4, "Metadata", metadataOf("nowhere"), topicError) },
		func() error { return k.ask(3, "DeleteTopics", deleteOf("nowhere"), deleted) },
		func() error { return k.ask(1, "CreateTopics", createOf("audit"), created) },
		func() error { return k.ask(2, "CreateTopics", createOf("audit"), created) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	quiet, err := dial(ctx, address, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	if err != nil {
		return err
	}
	defer quiet.client.Close()
	return quiet.produce(6, orders, "", 10)
}

// fetch asks for what there is of orders, without waiting or a session.
func fetch() *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.MaxBytes, q.SessionEpoch = 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = orders
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

func fetched(r kmsg.Response) int16 {
	return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode
}

func groups(r kmsg.Response) int16 { return r.(*kmsg.ListGroupsResponse).ErrorCode }

func metadataOf(topic string) *kmsg.MetadataRequest {
	q := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	q.Topics = append(q.Topics, t)
	return q
}

func topicError(r kmsg.Response) int16 { return r.(*kmsg.MetadataResponse).Topics[0].ErrorCode }

func deleteOf(topic string) *kmsg.DeleteTopicsRequest {
	q := kmsg.NewPtrDeleteTopicsRequest()
	q.TopicNames = append(q.TopicNames, topic)
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	q.Topics = append(q.Topics, t)
	return q
}

func deleted(r kmsg.Response) int16 { return r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode }

func createOf(topic string) *kmsg.CreateTopicsRequest {
	q := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 1, 1
	q.Topics = append(q.Topics, t)
	return q
}

func created(r kmsg.Response) int16 { return r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode }
