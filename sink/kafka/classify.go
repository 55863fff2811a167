package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-probe/weir/sink"
)

// outcome is what became of a batch's messages.
type outcome struct {
	first error
	// large is an error that says that a message or request is too large: whatever else
	// went wrong, it has to be smaller.
	large error
}

func (o *outcome) add(err error) {
	if err == nil {
		return
	}
	if o.first == nil {
		o.first = err
	}
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
		o.large = err
	}
}

// classify says what an error wants of us.
func (o *outcome) classify(s *Sink, topic string) error {
	if o.first == nil {
		return nil
	}
	cause := o.first
	if o.large != nil {
		cause = o.large
	}
	err := fmt.Errorf("write to topic %s at %s: %w", topic, s.name, cause)
	if o.large != nil {
		return fmt.Errorf("%w: %w", sink.ErrTooLarge, err)
	}
	if remedy := s.remedy(cause, topic); remedy != "" {
		return &sink.ConfigError{Remedy: remedy, Err: err}
	}
	switch {
	case isAny(cause, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.UnsupportedForMessageFormat):
		return &sink.RefusedError{Reason: sink.ReasonOther, Err: err}
	case isAny(cause, kgo.ErrClientClosed):
		return fmt.Errorf("write to %s: %w", s.name, cause)
	}
	return err
}

// remedy is what somebody has to change, where an error will not pass by itself.
func (s *Sink) remedy(err error, topic string) string {
	switch {
	case isAny(err, kerr.UnknownTopicOrPartition, kerr.InvalidTopicException, kerr.UnknownTopicID):
		return fmt.Sprintf("create it: kafka-topics.sh --create --topic %s", topic)
	case isAny(err, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed):
		return fmt.Sprintf("let the user write: kafka-acls.sh --add --allow-principal User:%s --operation Write --topic %s", s.user(), topic)
	case isAny(err, kerr.SaslAuthenticationFailed, kerr.IllegalSaslState, kerr.UnsupportedSaslMechanism):
		return "check kafka.username, kafka.mechanism and WEIR_KAFKA_PASSWORD"
	}
	return ""
}

func isAny(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) })
}

func (s *Sink) user() string {
	if s.cfg.Username == "" {
		return "ANONYMOUS"
	}
	return s.cfg.Username
}
