package kafka_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/kafkad"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// TestProbe: the program brings both streams to a real Kafka.
func TestProbe(t *testing.T) {
	machine.Root(t, "runs the probe")
	srv := kafkad.Start(t)
	create(t, srv.Broker, topic, 2)
	create(t, srv.Broker, topic+"_log", 2)
	bin := probe.Build(t, "./cmd/weir")
	p := probe.Start(t, bin, "run", "--interval", "1s", "--packets", "off", "--docker", "/nonexistent", "--host", "h",
		"--journal", t.TempDir(), "--listen", "", "--sink", "kafka://"+srv.Broker+"/"+topic)
	p.WaitReady(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	const n = 20
	for range n {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	port := ln.Addr().(*net.TCPAddr).Port
	var got []string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		got = got[:0]
		for _, l := range lines(consume(t, []string{srv.Broker}, topic+"_log")) {
			if strings.HasPrefix(l, "flow_log,") && strings.Contains(l, fmt.Sprintf("server_port=%di", port)) && strings.Contains(l, "end_reason=end,") {
				got = append(got, l)
			}
		}
		if len(got) >= n {
			break
		}
	}
	p.Stop(t)
	if len(got) != n {
		t.Errorf("%d rows of flow_log for %d connections", len(got), n)
	}
	self := 0
	for _, l := range lines(consume(t, []string{srv.Broker}, topic)) {
		if strings.HasPrefix(l, "weir_self,host=h,stage=delivery ") {
			self++
		}
	}
	if self == 0 {
		t.Error("no weir_self in the topic of the main stream")
	}
}
