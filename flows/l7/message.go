package l7

// Dir is the direction of payload within a connection.
type Dir uint8

const (
	ToServer Dir = iota // requests: from who opened the connection
	ToClient            // responses
)

// Opposite returns the other direction.
func (d Dir) Opposite() Dir { return d ^ 1 }

// Protocol is an application protocol; its String is the tag `l7`.
type Protocol uint8

const (
	Unknown Protocol = iota
	HTTP             // HTTP/1.0 and 1.1
	HTTP2
	GRPC
	DNS
	PostgreSQL
	MySQL
	Redis
	MongoDB
	Kafka
	AMQP
	NATS
	Memcached
	TLS
	QUIC
	numProtocols
)

var protocolNames = [numProtocols]string{"unknown", "http", "http2", "grpc", "dns", "postgresql", "mysql", "redis", "mongodb", "kafka", "amqp", "nats", "memcached", "tls", "quic"}

// Protocols is how many there are, Unknown included: the length of an array that a
// Protocol indexes.
const Protocols = int(numProtocols)

// String returns the tag value.
func (p Protocol) String() string {
	if p >= numProtocols {
		return protocolNames[Unknown]
	}
	return protocolNames[p]
}

// Outcome says what became of a request.
type Outcome uint8

const (
	Answered   Outcome = iota // with the status in the Message
	Unanswered                // the connection or the patience ended first
	OneWay                    // no answer belongs to it: a push, a publish, an acknowledgement
	Lost                      // its answer, or its beginning, was not copied or not understood: counted, not timed
)

// MaxOperation, MaxStatus, MaxHost and MaxALPN bound the octets of the names in a
// Message.
const (
	MaxOperation = 128
	MaxStatus    = 32
	MaxHost      = 253
	MaxALPN      = 32
)

// Message is one request with its answer. It and the octets it points to are valid
// during the call only, and are reused.
type Message struct {
	Protocol Protocol
	Outcome  Outcome
	// Operation is what was asked, as a name of which a service has few: method and
	// templated route, command, statement kind and table. Values a client chose
	// (identifiers, literals, keys, queries) are not in it. At most MaxOperation.
	Operation []byte
	// Status is the protocol's own word for the result (200, OK, NXDOMAIN, 42P01),
	// Failed whether it counts as an error of the server or of the service.
	Status []byte
	Failed bool
	// Host is whom the client asked for, Host, :authority or SNI: a name in lower case
	// or an address, without a port. At most MaxHost.
	Host []byte
	// ALPN is the application protocol of a TLS or QUIC handshake: the server's choice
	// where that is visible (up to TLS 1.2), else what the client offered first.
	// Printable, at most MaxALPN.
	ALPN []byte
	// NotAfter is when the server's certificate expires, unix ns; 0 where that is not
	// visible (TLS 1.3, a resumed session).
	NotAfter int64
	// RequestFirst to ResponseLast are when the first and last octets of request and
	// response passed, unix ns; 0 where that was not seen. The response time is
	// ResponseFirst - RequestLast. Of TLS, ResponseLast is the end of the handshake,
	// whoever's octets end it; that of QUIC is encrypted, and not seen.
	RequestFirst, RequestLast, ResponseFirst, ResponseLast int64
	// RequestOctets and ResponseOctets are payload of the transport, headers
	// included.
	RequestOctets, ResponseOctets uint64
	// Overlapped says that other requests of the connection were open meanwhile
	// (pipelining, multiplexing): the time holds their waiting, too.
	Overlapped bool
	// Streaming says that request or response went on after the other had begun:
	// a stream, an upgrade, a subscription; ResponseFirst - RequestLast means nothing.
	Streaming bool
	// Upgrade says of a Streaming one that its answer is where the connection goes on as
	// something else (HTTP's 101, CONNECT): the time is that of this answer.
	Upgrade bool
}

// ResponseTime returns ResponseFirst - RequestLast in ns, and whether that means
// something.
func (m *Message) ResponseTime() (int64, bool) {
	if m.Outcome != Answered || m.Streaming && !m.Upgrade || m.RequestLast == 0 || m.ResponseFirst < m.RequestLast {
		return 0, false
	}
	return m.ResponseFirst - m.RequestLast, true
}

// HandshakeTime returns how long a handshake of TLS took that succeeded, from the first
// octet of the ClientHello to its end, in ns, and whether that was seen.
func (m *Message) HandshakeTime() (int64, bool) {
	if m.Protocol != TLS || m.Outcome != Answered || m.Failed || m.RequestFirst == 0 || m.ResponseLast < m.RequestFirst {
		return 0, false
	}
	return m.ResponseLast - m.RequestFirst, true
}
