// Package kafka ships rows through Apache Kafka: line protocol as it is, for whoever
// reads it from there, such as Telegraf's kafka_consumer. It is a sink like the others:
// the journal before it holds what the brokers do not take, and the client's own buffer
// holds one batch of each stream, no more.
package kafka
