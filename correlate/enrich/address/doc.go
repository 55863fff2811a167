// Package address knows the addresses of this host, so that an end without a
// socket can be told from one elsewhere, and the tunnels that end here.
package address
