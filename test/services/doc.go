// Package services runs real servers (nginx, PostgreSQL, MariaDB, Redis,
// memcached, NATS, RabbitMQ, Unbound, gRPC of Go, a Kafka broker) and their clients in
// containers of a real Docker Engine, with delays and errors put in on purpose, and
// compares what weir wrote of every request with the clients' own logs.
package services
