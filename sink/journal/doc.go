// Package journal keeps every batch of rows in an append-only log on disk,
// bounded in bytes and age: the spool that an outage of the database is survived
// with, the history that is read where there is no database, and a recording
// that can be shipped later. FORMAT.md describes the files.
//
// One process writes a journal (flock); any may read it (OpenHistory). Each sink
// has a Queue per stream, whose place in the log is kept on disk: delivery goes
// on after the last acknowledged batch, so that rows arrive at least once and in
// order. What a queue can no longer deliver, because its segment had to go or
// is damaged, is counted in rows, exactly: each record says how many rows of its
// stream came before it.
//
// With no folder, or while the folder cannot be written, batches wait in memory,
// bounded, oldest dropped first.
//
// Why not tidwall/wal v1.2.1: its entries have no checksum and no time; a
// damaged file makes Open refuse the whole log; a front is truncated by copying
// a segment, where whole segments are to be removed; there are no caps. What
// would remain of it is the naming of files.
package journal
