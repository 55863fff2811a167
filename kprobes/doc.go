// Package kprobes is the socket side of Weir: it loads and attaches the BPF
// programs that see what the kernel's sockets do and on whose behalf, and turns
// their records into Go events.
//
// The unit is the socket, its identity the socket cookie.
// Every hook is one row of the table in probe.go, is probed by loading it, and
// is optional unless marked required.
package kprobes
