package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/kafka"
	"github.com/weir-probe/weir/sink/lines"
)

// KafkaConfig is what a sink kafka://BROKER/TOPIC does not say itself.
type KafkaConfig struct {
	LogTopic  string          `yaml:"log_topic"` // of flow_log; default the topic's name with _log
	TLS       bool            `yaml:"tls"`
	CAFile    string          `yaml:"ca_file"`
	Mechanism string          `yaml:"mechanism"`
	Username  string          `yaml:"username"`
	Password  influxdb.Secret `yaml:"-"` // environment only
	Timeout   time.Duration   `yaml:"timeout"`
}

// sink is the configuration of the package that ships.
func (c KafkaConfig) sink(spec string) (kafka.Config, error) {
	k, err := kafka.Parse(spec)
	if err != nil {
		return k, err
	}
	k.LogTopic, k.TLS, k.CAFile, k.Timeout = c.LogTopic, c.TLS, c.CAFile, c.Timeout
	k.Mechanism, k.Username, k.Password = c.Mechanism, c.Username, string(c.Password)
	return k, k.Validate()
}

func (c *Config) validateSinks() error {
	if c.WriteJitter < 0 {
		return errors.New("write_jitter: must not be negative (0 writes at once)")
	}
	if len(c.Sinks) == 0 && c.InfluxDB.URL != "" {
		c.Sinks = []string{"influxdb"}
	}
	for _, s := range c.Sinks {
		kind, path, _ := strings.Cut(s, ":")
		switch {
		case s == "stdout", s == "none":
		case kind == "file" && path != "":
		case strings.HasPrefix(s, "kafka:"):
			if _, err := c.Kafka.sink(s); err != nil {
				return err
			}
		case s == "influxdb":
			if c.InfluxDB.URL == "" {
				return errors.New("sink influxdb: no server given; set --influxdb-url (or INFLUX_HOST)")
			}
			if err := c.InfluxDB.sink().Validate(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("sink %q: must be influxdb, kafka://BROKER/TOPIC, file:PATH, stdout or none", s)
		}
	}
	return nil
}

// jitter of a sink: intervals end on every host in the same instant, so what many hosts
// share is written to some time later, by half an interval at most.
func (c *Config) jitter(spec string) time.Duration {
	if kind, _, _ := strings.Cut(spec, ":"); kind != "influxdb" && kind != "kafka" {
		return 0
	}
	return min(c.WriteJitter, c.Interval/2)
}

func openSink(cfg *Config, spec string, e env, log *slog.Logger) (sink.Sink, error) {
	kind, path, _ := strings.Cut(spec, ":")
	switch kind {
	case "influxdb":
		c := cfg.InfluxDB.sink()
		c.Logger = log
		return influxdb.New(c)
	case "kafka":
		c, err := cfg.Kafka.sink(spec)
		if err != nil {
			return nil, err
		}
		return kafka.New(c)
	case "stdout":
		return lines.Writer("stdout", e.stdout), nil
	case "file":
		return lines.File(path)
	}
	return nil, fmt.Errorf("sink %q: not known", spec) // Validate has checked
}
