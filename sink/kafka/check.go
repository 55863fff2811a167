package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-probe/weir/sink"
)

// patience is how long one broker has to answer a question of Check.
const patience = 4 * time.Second

// Check looks whether rows would arrive: which of the brokers given answer and know us,
// whether the topic of each stream is there and may be written to, and whether the
// brokers that have it can be reached under the names the cluster gives them. It asks for
// metadata only, which tells our rights on a topic, too.
func (s *Sink) Check(ctx context.Context) []sink.Finding {
	var found []sink.Finding
	var cluster *kmsg.MetadataResponse
	reached := 0
	for _, b := range s.cfg.Brokers {
		meta, err := s.metadata(ctx, b)
		if err != nil {
			found = append(found, s.unreached(b, err))
			continue
		}
		reached++
		cluster = meta
		found = append(found, sink.Finding{Subject: b, Detail: fmt.Sprintf("answers, one of %d brokers of its cluster", len(meta.Brokers))})
	}
	if cluster == nil {
		return found
	}
	for i := range found {
		found[i].Away = found[i].Problem // another one knows the way
	}
	for _, topic := range s.topics {
		i := slices.IndexFunc(cluster.Topics, func(t kmsg.MetadataResponseTopic) bool { return t.Topic != nil && *t.Topic == topic })
		if i < 0 {
			found = append(found, sink.Finding{Subject: "topic " + topic, Problem: true, Detail: "the cluster says nothing of it"})
			continue
		}
		found = append(found, s.checkTopic(topic, &cluster.Topics[i]))
	}
	return append(found, s.checkLeaders(ctx, cluster)...)
}

// metadata asks one broker for the topics, once.
func (s *Sink) metadata(ctx context.Context, broker string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	opts, err := s.cfg.connection(broker)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true // AllowAutoTopicCreation is false: asking makes none
	for _, name := range s.topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := client.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// unreached says why a broker is of no use.
func (s *Sink) unreached(broker string, err error) sink.Finding {
	f := sink.Finding{Subject: broker, Problem: true, Away: true, Detail: err.Error()}
	_, eof := errors.AsType[*kgo.ErrFirstReadEOF](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch remedy := s.remedy(err, s.cfg.Topic); {
	case remedy != "":
		f.Remedy, f.Away = remedy, false
	case eof:
		f.Remedy, f.Away = "it closes the connection at the first request: it may want TLS (kafka.tls), or a user (kafka.username), or be no Kafka", false
	case plain:
		f.Remedy, f.Away = "it does not speak TLS on this port: leave kafka.tls and kafka.ca_file out, or give its port for TLS", false
	case certificate:
		f.Remedy, f.Away = "its certificate is not one that this host trusts: name the authority's with kafka.ca_file", false
	default:
		f.Remedy = "is Kafka running there, and can this host reach it? Rows wait in the journal until it is"
	}
	return f
}

// checkTopic reads what the cluster says of a topic.
func (s *Sink) checkTopic(name string, t *kmsg.MetadataResponseTopic) sink.Finding {
	f := sink.Finding{Subject: "topic " + name}
	err := kerr.ErrorForCode(t.ErrorCode)
	leaderless := 0
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			leaderless++
		}
	}
	const unknown = math.MinInt32 // a cluster before 2.3
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		f.Problem, f.Detail, f.Remedy = true, "is not there, or user "+s.user()+" may not see it", s.remedy(err, name)
	case err != nil:
		f.Problem, f.Detail, f.Remedy = true, err.Error(), s.remedy(err, name)
		f.Away = kerr.IsRetriable(err) && f.Remedy == ""
	case t.AuthorizedOperations == unknown:
		f.Detail = fmt.Sprintf("is there, %d partitions; whether it may be written to this cluster does not tell", len(t.Partitions))
	case t.AuthorizedOperations&(1<<kmsg.ACLOperationWrite) == 0:
		f.Problem, f.Detail, f.Remedy = true, "user "+s.user()+" may not write to it", s.remedy(kerr.TopicAuthorizationFailed, name)
	case leaderless > 0:
		f.Problem, f.Away = true, true
		f.Detail = fmt.Sprintf("%d of %d partitions have no leader", leaderless, len(t.Partitions))
		f.Remedy = "look after the cluster's brokers (kafka-topics.sh --describe --unavailable-partitions); rows wait in the journal"
	default:
		f.Detail = fmt.Sprintf("is there and can be written to, %d partitions", len(t.Partitions))
	}
	return f
}

// checkLeaders calls each broker that has a part of a topic under the name that the
// cluster gives it, which need not be one that was given to us.
func (s *Sink) checkLeaders(ctx context.Context, cluster *kmsg.MetadataResponse) (found []sink.Finding) {
	leads := map[int32]bool{}
	for _, t := range cluster.Topics {
		for _, p := range t.Partitions {
			leads[p.Leader] = true
		}
	}
	for _, b := range cluster.Brokers {
		name := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if !leads[b.NodeID] || slices.Contains(s.cfg.Brokers, name) { // that has been asked
			continue
		}
		if _, err := s.metadata(ctx, name); err != nil {
			f := s.unreached(name, err)
			f.Detail = fmt.Sprintf("broker %d calls itself so, and has partitions: %s", b.NodeID, f.Detail)
			if f.Away {
				f.Remedy = "this name has to lead there from this host: advertised.listeners in the broker's configuration, or DNS here"
			}
			found = append(found, f)
		}
	}
	return found
}
