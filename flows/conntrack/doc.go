// Package conntrack tells address translations as conntrack keeps them, by
// netlink: a dump at the start and whenever events were lost, and the event of
// each new entry. It is the source for what packets themselves don't tell: on
// kernels before 6.2, and in the host's namespace without the in-kernel meter.
//
// An event says that an entry was made, after its first packet has passed all
// hooks; it is read from a socket's buffer by a goroutine of its own, so that it
// may come after the flow, and after the end of a short connection
// (correlate.Config.LateNAT). Entering another namespace takes CAP_SYS_ADMIN.
package conntrack
