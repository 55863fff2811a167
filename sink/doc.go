// Package sink turns correlate.Records into the rows of the schema and delivers
// them: records are merged per edge and interval under a series budget, encoded
// once as line protocol, kept in the journal, and delivered in order.
package sink
