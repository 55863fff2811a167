// Package kafkad starts a real Apache Kafka for tests: the jars that build.sh in this
// folder fetches, on the machine's Java.
package kafkad

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
)

// Version that build.sh fetches.
const Version = "4.1.1"

// Server is one broker that is its own controller. It creates no topics by itself. Whoever
// comes by Broker may do everything, User what no access control list of a topic forbids.
type Server struct {
	Broker     string // host:port, for everybody
	UserBroker string // for User with Password, by SASL plain
	SafeBroker string // the same by TLS and SCRAM-SHA-512
	CAFile     string // who vouches for SafeBroker, PEM

	dir  string
	jars string
	cmd  *exec.Cmd
	done chan struct{}
}

// Who may use UserBroker and SafeBroker.
const (
	User     = "weir"
	Password = "weir-test-s3cret"
)

// Start runs a broker for t. Where it is not fetched it skips t, or fails it when
// WEIR_REQUIRE contains "kafka".
func Start(t testing.TB) *Server {
	t.Helper()
	jars := filepath.Join(machine.Cache(), "kafka-"+Version)
	_, err := os.Stat(filepath.Join(jars, "complete"))
	if _, e := exec.LookPath("java"); err != nil || e != nil {
		machine.Missing(t, "kafka", fmt.Sprintf("Apache Kafka %s is not here: test/kafkad/build.sh, java", Version))
	}
	s := &Server{dir: t.TempDir(), jars: jars, Broker: machine.FreeAddress(t), UserBroker: machine.FreeAddress(t), SafeBroker: machine.FreeAddress(t)}
	s.CAFile = filepath.Join(s.dir, "ca.pem")
	s.certify(t)
	s.configure(t)
	t.Cleanup(func() {
		s.Kill(t)
		if t.Failed() {
			b, _ := os.ReadFile(s.log())
			t.Logf("end of Kafka's log:\n%s", b[max(0, len(b)-3000):])
		}
	})
	s.Run(t)
	return s
}

// Telegraf is the path of one: what telegraf.sh in this folder has built, or any in
// PATH. Where there is none it skips t, or fails it when WEIR_REQUIRE contains "telegraf".
func Telegraf(t testing.TB) string {
	t.Helper()
	path := machine.Find("telegraf-1.36.4", "telegraf")
	if path == "" {
		machine.Missing(t, "telegraf", "there is no telegraf: test/kafkad/telegraf.sh")
	}
	return path
}

func (s *Server) log() string     { return filepath.Join(s.dir, "kafka.log") }
func (s *Server) config() string  { return filepath.Join(s.dir, "server.properties") }
func (s *Server) keyFile() string { return filepath.Join(s.dir, "key.pem") }

// configure writes the configuration and formats the broker's storage.
func (s *Server) configure(t testing.TB) {
	t.Helper()
	controller := machine.FreeAddress(t)
	conf := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[1]s
listeners=PLAINTEXT://%[2]s,SASL_PLAINTEXT://%[3]s,SASL_SSL://%[7]s,CONTROLLER://%[1]s
advertised.listeners=PLAINTEXT://%[2]s,SASL_PLAINTEXT://%[3]s,SASL_SSL://%[7]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%[4]s="%[5]s";
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location=%[8]s
log.dirs=%[6]s
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
`, controller, s.Broker, s.UserBroker, User, Password, filepath.Join(s.dir, "data"), s.SafeBroker, s.keyFile())
	if err := os.WriteFile(s.config(), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	format := s.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", s.config(),
		"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", User, Password))
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("format Kafka's storage: %v\n%s", err, out)
	}
}

func (s *Server) java(args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{"-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", s.jars + "/*"}, args...)...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run starts it, again after Kill, and waits until it takes connections.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(s.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = s.java("kafka.Kafka", s.config())
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start Kafka: %v", err)
	}
	s.done = make(chan struct{})
	cmd, done := s.cmd, s.done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		select {
		case <-s.done:
			b, _ := os.ReadFile(s.log())
			t.Fatalf("Kafka ended at its start:\n%s", b[max(0, len(b)-3000):])
		default:
		}
		if c, err := net.DialTimeout("tcp", s.Broker, time.Second); err == nil {
			c.Close()
			return
		}
	}
	t.Fatal("Kafka did not get ready in 2 minutes")
}

// Kill ends it as a crash would and keeps its data.
func (s *Server) Kill(testing.TB) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}
