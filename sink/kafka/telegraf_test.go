package kafka_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/kafka"
	"github.com/weir-probe/weir/sink/sinktest"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/kafkad"
)

// TestTelegraf: the configuration in deploy/, in a real Telegraf between a real Kafka and
// a real InfluxDB: each stream is in its bucket, with its tags as they were and no others.
func TestTelegraf(t *testing.T) {
	telegraf := kafkad.Telegraf(t)
	db, srv := influxd.Start(t, influxd.V2), kafkad.Start(t)
	b, err := os.ReadFile("../../deploy/telegraf/weir-kafka.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer("kafka:9092", srv.Broker, "http://influxdb:8086", db.URL, `organization = "weir"`, fmt.Sprintf("organization = %q", db.Org)).Replace(string(b))
	file := filepath.Join(t.TempDir(), "telegraf.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, srv.Broker, topic, 3)
	create(t, srv.Broker, topic+"_log", 1)
	s := open(t, kafka.Config{Brokers: []string{srv.Broker}, Topic: topic, Timeout: 10 * time.Second})
	for i := range 3 {
		written(t, s, sinktest.Batch(sink.Main, "m", 1000*i, 1000))
	}
	written(t, s, sinktest.Batch(sink.Main, "m", 0, 1000)) // sent again
	written(t, s, sinktest.Batch(sink.Log, "l", 0, 500))
	cmd := exec.Command(telegraf, "--config", file)
	cmd.Env = append(os.Environ(), "INFLUX_TOKEN="+db.Token)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "telegraf.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("Telegraf said:\n%s", b[max(0, len(b)-3000):])
		}
	})
	count := func(bucket, measurement string) string {
		rows := db.QueryInfluxQL(t, bucket, fmt.Sprintf(`SELECT count(v) AS n FROM %s`, measurement))
		if len(rows) == 0 {
			return "0"
		}
		return rows[0].Values["n"].(json.Number).String()
	}
	var got string
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if got = count(influxd.Bucket, "m") + " " + count(influxd.LogBucket, "l"); got == "3000 500" {
			break
		}
	}
	if got != "3000 500" {
		t.Errorf("%s rows are in the buckets, want 3000 and 500", got)
	}
	if n := db.Series(t, influxd.Bucket, ""); n != 1 {
		t.Errorf("%d series, want one: Telegraf has added tags", n)
	}
	for _, r := range db.QueryInfluxQL(t, influxd.Bucket, `SHOW TAG KEYS FROM m`) {
		if r.Values["tagKey"] != "host" {
			t.Errorf("tag %v", r.Values["tagKey"])
		}
	}
}
