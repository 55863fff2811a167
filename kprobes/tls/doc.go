// Package tls looks inside TLS: it finds the OpenSSL libraries and the Go programs
// that processes of selected control groups run, and attaches the programs of
// kprobes to their functions, once per file, until no process runs it any more.
// What is read and written there comes as kprobes.PayloadEvent with Plain set.
//
// It needs no return probe on Go (its stacks move): probes stand on the function's
// RET instructions. Functions of Go programs are found by the table that every Go
// program carries for its own tracebacks, stripped or not.
package tls
