// Package mysql follows the protocol of MySQL and MariaDB in passing: queries,
// prepared statements, results with and without EOF packets, errors by their code.
// What a statement is called says package sqlname; literals and parameters are
// never told. Answers that may be another request's, after a hole or in the middle of
// a connection, are Lost (open.Place). A connection keeps less than 64 KiB. A connection that is compressed
// is opaque after its start.
//
// Source: "MySQL Client/Server Protocol" (MySQL source documentation), MariaDB
// knowledge base, "Clientserver protocol".
package mysql
