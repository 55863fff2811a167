// Package protocols is the list of the application protocols that Weir reads.
package protocols

import (
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/amqp"
	"github.com/weir-probe/weir/flows/l7/dns"
	"github.com/weir-probe/weir/flows/l7/http1"
	"github.com/weir-probe/weir/flows/l7/http2"
	"github.com/weir-probe/weir/flows/l7/kafka"
	"github.com/weir-probe/weir/flows/l7/memcached"
	"github.com/weir-probe/weir/flows/l7/mongodb"
	"github.com/weir-probe/weir/flows/l7/mysql"
	"github.com/weir-probe/weir/flows/l7/nats"
	"github.com/weir-probe/weir/flows/l7/postgres"
	"github.com/weir-probe/weir/flows/l7/quic"
	"github.com/weir-probe/weir/flows/l7/redis"
	"github.com/weir-probe/weir/flows/l7/tls"
)

// All returns every protocol, the more specific first: the first that recognises
// what it is shown has it.
func All() []l7.Spec {
	return []l7.Spec{
		tls.Spec,
		http2.Spec,
		http1.Spec,
		amqp.Spec,
		mongodb.Spec,
		postgres.Spec,
		mysql.Spec,
		redis.Spec,
		nats.Spec,
		memcached.Spec,
		kafka.Spec,
		dns.Stream,
		dns.Datagram,
		quic.Spec,
	}
}
