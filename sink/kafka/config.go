package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Config of a Sink. A zero field means its default.
type Config struct {
	Brokers  []string // host:port; some of the cluster's
	Topic    string   // of the main stream
	LogTopic string   // of flow_log; default Topic + "_log"

	TLS       bool
	CAFile    string // PEM, instead of the system's authorities; turns TLS on
	Mechanism string // of SASL: plain, scram-sha-256, scram-sha-512; "" = scram-sha-512 where there is a user name
	Username  string
	Password  string

	Timeout time.Duration // of one batch; default 30 s
}

const (
	prefix      = "kafka://"
	defaultPort = "9092"
)

// Parse reads kafka://BROKER[:PORT][,BROKER[:PORT]…]/TOPIC.
func Parse(spec string) (Config, error) {
	rest, ok := strings.CutPrefix(spec, prefix)
	brokers, topic, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Config{}, fmt.Errorf("sink %q: write it like kafka://broker.example:9092/weir", spec)
	}
	c := Config{Topic: topic}
	for b := range strings.SplitSeq(brokers, ",") {
		if _, _, err := net.SplitHostPort(b); err != nil {
			b = net.JoinHostPort(strings.Trim(b, "[]"), defaultPort)
		}
		c.Brokers = append(c.Brokers, b)
	}
	return c, c.Validate()
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,240}$`)

// Validate says what is wrong with c, and what to do about it.
func (c Config) Validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafka: no broker given")
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" || strings.Contains(host, "@") {
			return errors.New("kafka: a broker is written like broker.example:9092, a user belongs to kafka.username")
		}
	}
	for _, t := range []string{c.Topic, c.logTopic()} {
		if !topicName.MatchString(t) {
			return fmt.Errorf("kafka: topic %q: letters, digits, '.', '_' and '-' only, at most 240 of them", t)
		}
	}
	if c.Password != "" && c.Username == "" {
		return errors.New("kafka: there is a password but no user name: set kafka.username")
	}
	if c.Username != "" && c.Password == "" {
		return errors.New("kafka: there is a user name but no password: set WEIR_KAFKA_PASSWORD")
	}
	if c.Timeout < 0 {
		return errors.New("kafka: the timeout must not be negative (0 means the default)")
	}
	_, err := c.sasl()
	return err
}

func (c Config) logTopic() string {
	if c.LogTopic != "" {
		return c.LogTopic
	}
	return c.Topic + "_log"
}

func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return 30 * time.Second
	}
	return max(c.Timeout, time.Second) // the client's least
}

// connection says how brokers are talked to, and as whom.
func (c Config) connection(brokers ...string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.ClientID("weir")}
	mechanism, err := c.sasl()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	t, err := c.tls()
	if err != nil {
		return nil, err
	}
	if t != nil {
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	return opts, nil
}

// sasl is nil where there is no user.
func (c Config) sasl() (sasl.Mechanism, error) {
	switch {
	case c.Username == "" && c.Mechanism == "":
		return nil, nil
	case c.Username == "":
		return nil, errors.New("kafka: there is a mechanism but no user name: set kafka.username")
	}
	auth := scram.Auth{User: c.Username, Pass: c.Password}
	switch c.Mechanism {
	case "plain":
		return plain.Auth{User: c.Username, Pass: c.Password}.AsMechanism(), nil
	case "scram-sha-256":
		return auth.AsSha256Mechanism(), nil
	case "", "scram-sha-512":
		return auth.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("kafka: mechanism %q: want plain, scram-sha-256 or scram-sha-512", c.Mechanism)
}

// tls is nil where the brokers speak without it.
func (c Config) tls() (*tls.Config, error) {
	if !c.TLS && c.CAFile == "" {
		return nil, nil
	}
	t := &tls.Config{}
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("kafka: read certificate authorities: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("kafka: %s holds no certificate in PEM form", c.CAFile)
	}
	return t, nil
}
