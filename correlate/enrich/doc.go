// Package enrich names the ends of connections: it asks what its sub-packages
// know of a process, its container and its address, and decides what an end is
// and what it is called.
package enrich
