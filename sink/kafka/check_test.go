package kafka_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/kafka"
	"github.com/weir-probe/weir/test/kafkad"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// checked asks what Check finds before and after somebody did what it advises.
func checked(t *testing.T, srv *kafkad.Server, cfg kafka.Config) {
	cfg.Brokers, cfg.Mechanism, cfg.Username, cfg.Password = []string{srv.UserBroker}, "plain", kafkad.User, kafkad.Password
	cfg.Topic, cfg.LogTopic = "looked-at", "looked-at-log"
	find := func(cfg kafka.Config, subject string) sink.Finding {
		t.Helper()
		found := open(t, cfg).Check(t.Context())
		for _, f := range found {
			if f.Subject == subject {
				return f
			}
		}
		t.Fatalf("nothing of %s: %+v", subject, found)
		return sink.Finding{}
	}
	if f := find(cfg, srv.UserBroker); f.Problem || !strings.Contains(f.Detail, "answers") {
		t.Errorf("broker: %+v", f)
	}
	if f := find(cfg, "topic looked-at"); !f.Problem || f.Away || !strings.Contains(f.Remedy, "kafka-topics.sh --create --topic looked-at") {
		t.Errorf("a topic that is not there: %+v", f)
	}
	create(t, srv.Broker, "looked-at", 2)
	create(t, srv.Broker, "looked-at-log", 1)
	permit(t, srv.Broker, "looked-at-log", "User:"+kafkad.User, kmsg.ACLOperationDescribe)
	// until waits for what a cluster does some time after it was told to.
	until := func(what, topic string, ok func(sink.Finding) bool) {
		t.Helper()
		probe.Until(t, time.Minute, what, func() error {
			if f := find(cfg, "topic "+topic); !ok(f) {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
	}
	until("a topic can be written to", "looked-at", func(f sink.Finding) bool {
		return !f.Problem && strings.Contains(f.Detail, "can be written to, 2 partitions")
	})
	until("a topic may not be written to", "looked-at-log", func(f sink.Finding) bool {
		return f.Problem && !f.Away && strings.Contains(f.Remedy, "--allow-principal User:weir --operation Write --topic looked-at-log")
	})
	permit(t, srv.Broker, "looked-at-log", "User:"+kafkad.User, kmsg.ACLOperationWrite)
	until("it may", "looked-at-log", func(f sink.Finding) bool { return !f.Problem })
	if got := lines(consume(t, []string{srv.Broker}, "looked-at")); len(got) != 0 {
		t.Errorf("a check wrote %q", got)
	}
	wrong := cfg
	wrong.Password = "wr0ng-one"
	if f := find(wrong, srv.UserBroker); !f.Problem || f.Away || !strings.Contains(f.Remedy, "WEIR_KAFKA_PASSWORD") || strings.Contains(f.Detail, "wr0ng") {
		t.Errorf("a wrong password: %+v", f)
	}
	wrong = cfg
	wrong.TLS = true
	if f := find(wrong, srv.UserBroker); !f.Problem || f.Away || !strings.Contains(f.Remedy, "kafka.tls") {
		t.Errorf("TLS to a port without: %+v", f)
	}
	nobody := cfg
	nobody.Mechanism, nobody.Username, nobody.Password = "", "", ""
	if f := find(nobody, srv.UserBroker); !f.Problem || f.Away || !strings.Contains(f.Remedy, "kafka.username") {
		t.Errorf("without a user: %+v", f)
	}
	half := cfg
	dead := machine.FreeAddress(t)
	half.Brokers = []string{dead, srv.UserBroker}
	if f := find(half, dead); !f.Away || find(half, "topic looked-at").Problem {
		t.Errorf("one of two brokers is dead: %+v", f)
	}
}

// permit adds to the access control list of a topic.
func permit(t *testing.T, broker, topic, principal string, operation kmsg.ACLOperation) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	acl := kmsg.NewCreateACLsRequestCreation()
	acl.ResourceType, acl.ResourceName, acl.ResourcePatternType = kmsg.ACLResourceTypeTopic, topic, kmsg.ACLResourcePatternTypeLiteral
	acl.Principal, acl.Host, acl.Operation, acl.PermissionType = principal, "*", operation, kmsg.ACLPermissionTypeAllow
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = append(req.Creations, acl)
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil || resp.Results[0].ErrorCode != 0 {
		t.Fatalf("permit: %v %+v", err, resp)
	}
}

// TestCheckNobody: a dead address is told as what may pass.
func TestCheckNobody(t *testing.T) {
	dead := machine.FreeAddress(t)
	found := open(t, kafka.Config{Brokers: []string{dead}, Topic: topic}).Check(t.Context())
	if len(found) != 1 || found[0].Subject != dead || !found[0].Away || !strings.Contains(found[0].Detail, "connection refused") || !strings.Contains(found[0].Remedy, "journal") {
		t.Errorf("%+v", found)
	}
}

// TestCheckAdvertisedName: a cluster whose brokers call themselves what leads nowhere
// from here is told before the first row fails.
func TestCheckAdvertisedName(t *testing.T) {
	c := cluster(t, 1)
	dead := machine.FreeAddress(t)
	host, port, err := net.SplitHostPort(dead)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = 7, host, int32(number)
		resp.Brokers = append(resp.Brokers, b)
		for _, name := range []string{topic, topic + "_log"} {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Leader = 7
			rt := kmsg.NewMetadataResponseTopic()
			rt.Topic, rt.Partitions, rt.AuthorizedOperations = &name, append(rt.Partitions, p), 1<<kmsg.ACLOperationWrite
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	found := open(t, to(c)).Check(t.Context())
	last := found[len(found)-1]
	if len(found) != 4 || last.Subject != dead || !last.Problem || !strings.Contains(last.Remedy, "advertised.listeners") {
		t.Errorf("%+v", found)
	}
}
