// Package mongodb follows connections of MongoDB's wire protocol: MongoDB, FerretDB,
// DocumentDB.
//
// Operation is the command with its collection: find orders. The collection is told
// as far as it is made of letters, digits and . _ - $; a connection tells at most 64
// of them, more go without. A command of no known name is "other": names are octets
// of the client. Values, filters and documents are never looked at. What came
// compressed is "other", too, and its status empty: counted, sized and timed.
//
// Status is ok, or the codeName of the reply, else the name or the number of its
// code. A reply with ok: 0, writeErrors or a writeConcernError is failed. Replies are
// read as far as they were copied, at most their first KiB: that of a cursor counts
// as ok by its beginning, of any other that was not read up to its ok the status is
// empty.
//
// Replies name their request by its id, in any order. What asks for no reply (w: 0,
// the old writes, killCursors) is OneWay. Of an exhaust cursor or a streamed hello
// the first reply answers the request, each further one is OneWay. A hello that
// waits for a change and a getMore that waits for data (maxTimeMS) are Streaming:
// their time is no service time.
//
// Messages say their length: holes do no harm but to the names in them. After a hole
// that has swallowed a length the parser begins anew at a turn where a header makes
// sense and, of the server's, answers an open request.
//
// BSON is read by bsoncore, the driver's own, in slices and without allocation; where
// an embedded document was cut short its beginning is walked all the same.
//
// A connection keeps beginnings of messages of 0.25 and 1 KiB, the open requests
// (package open: at most 16 KiB) and 64 names of 128 octets, 64 of 32.
package mongodb
