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
}

// Tally counts the messages of one protocol, operation, status and server name.
type Tally struct {
	Protocol l7.Protocol
	// Operation and Status are what the protocol's parser told: bounded in length,
	// not in what they may hold.
	Operation, Status string
	// ServerName is whom the client asked for (l7.Message.Host), empty where that was
	// not told.
	ServerName string
	// Requests are all of them, of which Unanswered and Lost got no answer that was
	// seen, Overlapped went on beside others, and Streaming ones have no response time
	// (l7.Message.ResponseTime). Estimated ones were only counted: what they were,
	// their result, octets and time are those of one before them.
	Requests, Errors, Unanswered, Lost, Overlapped, Streaming, Estimated uint32
	RequestOctets, ResponseOctets                                        uint64
	Response                                                             dist.Small
}
