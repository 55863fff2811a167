// Package engine is what the clients of all container engines share: what is
// known of containers and their addresses over time (Store), and the life of the
// connection to an engine (Link).
package engine
