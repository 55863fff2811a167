package correlate

import (
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows/l7"
)

// Requests is what the payload of a connection told in an interval, the server's
// end of it where that lives here, else the client's. It and all it points to
// belong to requests.Tracker and are valid until its next call.
type Requests struct {
	// Response is from the last octet of a request to the first octet of its answer, as
	// the application protocol tells them. Where that is not known, and inside TLS, from
	// the last octet of a turn that asks to the first of the turn that answers. Request
	// and Sent are how long these two took, first to last octet.
	Response, Request, Sent *dist.Small
	// Overlapped and Estimated are of those in Response (see Tally), Streaming ones are
	// not in it, but for what began as an answer: an upgrade.
	Overlapped, Streaming, Estimated uint64
	// Messages are what the application protocol told, none where it is not known.
	Messages []*Tally
	// Errors are the messages among them that failed.
	Errors uint64
	Life   RequestsLife
}

// RequestsLife is what was counted since the connection was first heard of.
type RequestsLife struct {
	Responses, Requests, Errors uint64
	ResponseSum                 uint64      // ns
	Protocol                    l7.Protocol // the one recognised last
	// Handshake is what TLS or QUIC told of itself; nil: nothing. Immutable: it may be
	// kept.
	Handshake *Handshake
}

// Handshake is what could be seen of the handshake of a connection.
type Handshake struct {
	// Version is the operation of its message (TLS 1.3, QUIC v1), ServerName whom the
	// client asked for, ALPN as l7.Message has it; "" where that was not told.
	Version, ServerName, ALPN string
	Took                      int64 // whole, ns; 0: it did not succeed, or that was not seen
	NotAfter                  int64 // of the server's certificate, unix ns; 0 not seen
}

// Tally counts the messages of one protocol, operation, status, server name and ALPN.
type Tally struct {
	Protocol l7.Protocol
	// Operation and Status are what the protocol's parser told: bounded in length,
	// not in what they may hold.
	Operation, Status string
	// ServerName is whom the client asked for (l7.Message.Host), empty where that was
	// not told.
	ServerName string
	// ALPN is the application protocol of a handshake (l7.Message.ALPN), what the client
	// or the server made of it: few octets, not of few values.
	ALPN string
	// Requests are all of them, of which Unanswered and Lost got no answer that was
	// seen, Overlapped went on beside others, and Streaming ones have no response time
	// (l7.Message.ResponseTime). Estimated ones were only counted: what they were,
	// their result, octets and time are those of one before them.
	Requests, Errors, Unanswered, Lost, Overlapped, Streaming, Estimated uint32
	RequestOctets, ResponseOctets                                        uint64
	Response                                                             dist.Small
	// Handshake are the durations of whole handshakes (l7.Message.HandshakeTime),
	// NotAfter is when the first of the certificates that were seen expires, unix ns; 0:
	// none was.
	Handshake dist.Small
	NotAfter  int64
}
