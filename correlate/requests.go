package correlate

import (
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows/l7"
)

// Requests is what the payload of a connection told in an interval, the server's
// end of it where that lives here, else the client's. It and all it points to
// belong to requests.Tracker and are valid until its next call.
type Requests struct {
	// Response is from the last octet of a turn that asks to the first octet of the
	// turn that answers, whatever the protocol; of datagrams, from the messages.
	// Request and Sent are how long these two turns took, first to last octet.
	Response, Request, Sent *dist.Small
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
	// seen, Overlapped went on beside others, and Streaming ones have no response time.
	Requests, Errors, Unanswered, Lost, Overlapped, Streaming uint32
	RequestOctets, ResponseOctets                             uint64
	Response                                                  dist.Small
}
