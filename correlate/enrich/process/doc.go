// Package process knows the processes behind sockets: their executable, command
// line (secrets redacted), user and systemd unit.
//
// The Table is fed by the kernel's process events and answers at once from
// memory. /proc is read by the background Resolver only, for what the events
// did not tell, and never believed unless the start time in it is the one the
// kernel reported: PIDs are reused.
package process
