// Package postgres follows PostgreSQL's protocol, version 3, in passing: simple and
// extended queries, prepared statements, pipelines, COPY, errors by their SQLSTATE.
// What a statement is called says package sqlname; literals and parameters are
// never told. Answers that may be another request's, after a hole or in the middle of
// a connection, are Lost (open.Place). A connection keeps less than 64 KiB.
//
// Source: PostgreSQL documentation, "Frontend/Backend Protocol".
package postgres
