package sink

import "github.com/weir-probe/weir/flows/l7"

// The part of the schema that payload fills: names and descriptions.

// Tags of l7, beside those of flow without TagAttribution.
const (
	TagL7         = "l7"
	TagOperation  = "operation"
	TagServerName = "server_name"
	TagStatus     = "status"
)

// Response is the distribution of the time from the last octet asked to the first
// answered; Request and Sent are how long asking and answering took.
var (
	Response = distribution("response")
	Request  = distribution("request")
	Sent     = distribution("sent")
)

// Fields of l7, beside the distribution Response and what handshakes tell. Requests is
// a field of flow_log, too.
const (
	FieldRequests      = "requests"
	FieldErrors        = "errors"
	FieldUnanswered    = "unanswered"
	FieldLost          = "lost"
	FieldOverlapped    = "overlapped"
	FieldStreaming     = "streaming"
	FieldEstimated     = "estimated"
	FieldRequestBytes  = "request_bytes"
	FieldResponseBytes = "response_bytes"
)

// l7Tags are those of an edge but for the attribution: the row says what was asked
// of whom, however its ends became known.
func l7Tags() []Tag {
	var tags []Tag
	for _, t := range edgeTags() {
		if t.Name != TagAttribution {
			tags = append(tags, t)
		}
	}
	return append(tags,
		Tag{TagL7, "the protocol, recognised by content: http, http2, grpc, dns, postgresql, mysql, redis, mongodb, kafka, amqp, nats, memcached, tls, quic"},
		Tag{TagOperation, "what was asked: method and templated route, command, statement kind, query type; other: past the limit of operations of a server"},
		Tag{TagServerName, "whom the client asked for: Host of HTTP/1, :authority of HTTP/2 and gRPC, SNI of TLS and QUIC; without the port, in lower case; other: past the limit of names of a server (rows.operations); absent: none was told, or too many series"},
		Tag{TagALPN, "application protocol of a handshake of TLS or QUIC: the server's choice (up to TLS 1.2), else the first that the client offered (TLS 1.3, QUIC); other: not registered with IANA (flow_log has it as it is); absent: none was seen, or too many series"},
		Tag{TagStatus, "the protocol's own word for the result; absent: none was seen"})
}

func l7Fields() []Field {
	fs := append([]Field{
		delta(FieldRequests, Count, "requests, answered or not"),
		delta(FieldErrors, Count, "requests that failed, by the protocol's own rules"),
		delta(FieldUnanswered, Count, "requests whose answer never came"),
		delta(FieldLost, Count, "requests of which a part was not seen or not understood: counted, not timed"),
		delta(FieldOverlapped, Count, "requests while others of the connection were open (pipelining, multiplexing): their time holds waiting"),
		delta(FieldStreaming, Count, "requests or answers that went on after the other had begun (streams, upgrades, subscriptions): not timed, but for the answer to an upgrade"),
		delta(FieldEstimated, Count, "of requests: only counted, above l7_rate; their operation, status, time and octets are taken from one before them. requests is exact all the same, errors, response_… and octets are estimates to this extent"),
		delta(FieldRequestBytes, Bytes, "payload of the requests, headers included"),
		delta(FieldResponseBytes, Bytes, "payload of the responses, headers included"),
	}, Response.fields("last octet of the request to first of the response, at the server where that lives here; of TLS and QUIC to the ServerHello")...)
	return append(fs, handshakeFields()...)
}

// requestLatencyFields are those of flow_latency that the application protocol
// tells, else turns of TCP.
func requestLatencyFields() []Field {
	fs := Response.fields("last octet asked to first octet answered, at the server where that lives here, else at the client: of requests, as their protocol tells; of TCP's turns where none is known or it is TLS")
	fs = append(fs, Request.fields("first to last octet of what was asked")...)
	fs = append(fs, Sent.fields("first to last octet of what was answered, known when the next is asked")...)
	return append(fs,
		delta(FieldOverlapped, Count, "of response_count: requests while others of the connection were open (pipelining, multiplexing): their time holds waiting"),
		delta(FieldStreaming, Count, "requests, answers and pushes that went on after the other had begun (streams, upgrades, subscriptions): not in response_count, but for the answer to an upgrade"),
		delta(FieldEstimated, Count, "of response_count: only counted, above l7_rate; each is taken to have been as long as the one before it"))
}

func logRequestFields() []Field {
	requests := delta(FieldRequests, Count, "requests told by the application protocol")
	requests.Semantics = Total
	return append([]Field{requests, label(LogL7, "application protocol, the one recognised last; absent: none")}, logHandshakeFields()...)
}

// Fields of weir_self of the stage l7.
const (
	SelfConversations    SelfInt = "conversations"
	SelfOpaque           SelfInt = "opaque"
	SelfUpgraded         SelfInt = "upgraded"
	SelfIdle             SelfInt = "idle"
	SelfMessages         SelfInt = "messages"
	SelfMessageErrors    SelfInt = "message_errors"
	SelfUnanswered       SelfInt = "unanswered"
	SelfLostMessages     SelfInt = "lost_messages"
	SelfDropped          SelfInt = "dropped_messages"
	SelfFolded           SelfInt = "folded_messages"
	SelfUntimed          SelfInt = "untimed"
	SelfResponses        SelfInt = "responses"
	SelfOwnEvents        SelfInt = "own_events"
	SelfNarrowed         SelfInt = "narrowed"
	SelfSampled          SelfInt = "requests_sampled"
	SelfSkipped          SelfInt = "exchanges_skipped"
	SelfGaps             SelfInt = "gaps"
	SelfGapBytes         SelfInt = "gap_bytes"
	SelfCopiedBytes      SelfInt = "copied_bytes"
	SelfParsedBytes      SelfInt = "parsed_bytes"
	SelfUnparsedBytes    SelfInt = "unparsed_bytes"
	SelfReordered        SelfInt = "reordered"
	SelfRepeated         SelfInt = "repeated"
	SelfNoRoom           SelfInt = "no_room"
	SelfParserBytes      SelfInt = "parser_bytes"
	SelfCrowded          SelfInt = "crowded"
	SelfOutgrown         SelfInt = "outgrown"
	SelfL7Series         SelfInt = "l7_series"
	SelfOperationsOther  SelfInt = "operations_other"
	SelfServerNamesOther SelfInt = "server_names_other"
	SelfALPNOther        SelfInt = "alpn_other"
	SelfL7Folded         SelfInt = "l7_folded"
)

// SelfDetected are the conversations recognised, by l7.Protocol.
var SelfDetected = detected()

func detected() [l7.Protocols]SelfInt {
	var names [l7.Protocols]SelfInt
	for p := range names {
		names[p] = SelfInt("detected_" + l7.Protocol(p).String())
	}
	return names
}

func selfL7Fields() []Field {
	fs := []Field{
		selfInt(SelfConversations, Count, Delta, "l7: conversations begun; connections: in the table now"),
		selfInt(SelfOpaque, Count, Delta, "l7: conversations of no known protocol: turns are timed, nothing is parsed"),
		selfInt(SelfUpgraded, Count, Delta, "l7: conversations that went on in TLS or HTTP/2"),
		selfInt(SelfIdle, Count, Delta, "l7: conversations ended by silence"),
		selfInt(SelfMessages, Count, Delta, "l7: requests the protocols told, at both ends where both live here"),
		selfInt(SelfMessageErrors, Count, Delta, "l7: of messages: failed"),
		selfInt(SelfUnanswered, Count, Delta, "l7: of messages: without an answer"),
		selfLoss(SelfLostMessages, Count, "l7: of messages: a part was not seen or not understood"),
		selfLoss(SelfDropped, Count, "l7: messages and turns that are in no row: their conversation was evicted, or no record of the connection came"),
		selfLoss(SelfFolded, Count, "l7: messages counted under operation other: too many operations at once"),
		selfLoss(SelfUntimed, Count, "l7: durations in no distribution: too many of those at once"),
		selfInt(SelfResponses, Count, Delta, "l7: answers of TCP that were timed, at both ends where both live here"),
		selfInt(SelfOwnEvents, Count, Delta, "l7: of seen: of the probe's own sockets, left out"),
		selfLoss(SelfSampled, Count, "l7: requests that were only counted (l7_rate): each is in the rows as one like the last before it"),
		selfInt(SelfSkipped, Count, Delta, "l7: requests that the kernel only counted"),
		selfInt(SelfNarrowed, Count, Delta, "l7: sockets of which the kernel was asked to tell less"),
		selfInt(SelfGaps, Count, Delta, "l7: places where payload was not copied or never came"),
		selfInt(SelfGapBytes, Bytes, Delta, "l7: payload that was not copied or never came"),
		selfInt(SelfCopiedBytes, Bytes, Delta, "l7: payload that the kernel copied, in records"),
		selfInt(SelfParsedBytes, Bytes, Delta, "l7: payload given to a parser"),
		selfInt(SelfUnparsedBytes, Bytes, Delta, "l7: payload copied and not parsed: no known protocol, or before it was recognised"),
		selfInt(SelfReordered, Count, Delta, "l7: segments that waited for an earlier one"),
		selfInt(SelfRepeated, Count, Delta, "l7: segments with octets that had passed already"),
		selfLoss(SelfNoRoom, Count, "l7: pieces of payload that could not wait: too much did already"),
		selfInt(SelfParserBytes, Bytes, Gauge, "l7: what parsers hold, at most 256 MiB"),
		selfLoss(SelfCrowded, Count, "l7: names, header fields and streams that had no room within the bound of a connection: unknown or lost"),
		selfLoss(SelfOutgrown, Count, "l7: conversations ended because of what all parsers held together"),
		selfInt(SelfL7Series, Count, Gauge, "series of l7 held against the budget"),
		selfLoss(SelfOperationsOther, Count, "sink: requests written with operation other: past the limit of their server"),
		selfLoss(SelfServerNamesOther, Count, "sink: requests written with server_name other: past the limit of their server"),
		selfInt(SelfALPNOther, Count, Delta, "sink: handshakes written with alpn other: of a protocol that is not registered with IANA"),
		selfLoss(SelfL7Folded, Count, "sink: requests in a coarser series of l7 than their own"),
	}
	for p, n := range SelfDetected {
		if l7.Protocol(p) != l7.Unknown {
			fs = append(fs, selfInt(n, Count, Delta, "l7: conversations recognised as "+l7.Protocol(p).String()))
		}
	}
	return fs
}
