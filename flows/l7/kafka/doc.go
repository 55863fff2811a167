// Package kafka follows connections of the Kafka protocol.
//
// Operation is the name of the request; Produce and Fetch of one topic by its name
// (until Produce 12 and Fetch 12; later ones have ids) have the topic, too: Produce
// orders. A connection tells at most 64 topics, more go without, like those whose
// name was not copied. Status is ok or the name of the first error code of the
// response, as far as it is among the first 512 octets; failed unless it belongs to
// the way a client finds its leader, group or session (NOT_LEADER_OR_FOLLOWER,
// REBALANCE_IN_PROGRESS …). Of requests whose errors the parser cannot find, ok says
// only that there was a response; where it was not copied far enough, status is
// empty.
//
// Responses name their request by correlation id. Produce with acks=0 is OneWay.
// A Fetch that waits for data, JoinGroup, SyncGroup and ShareFetch are Streaming:
// their time is that of others.
//
// Frames say their length: holes do no harm but to the names in them. After a hole
// that has swallowed a frame's length the parser begins anew at a turn, in the
// direction of the client where a header makes sense, in that of the server where
// the response to an open request begins.
//
// A connection keeps 2 beginnings of frames of 0.5 KiB, the open requests (package
// open: at most 16 KiB) and 64 names of 128 octets.
package kafka
