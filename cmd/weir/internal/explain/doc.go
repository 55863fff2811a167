// Package explain reads rows of flow_log and tells of a connection how its
// owners became known: which event gave which owner at which time, and why other
// candidates lost. It needs no running probe: the evidence is in the row.
//
// Rows may come from a file that anybody wrote, and names in them are what
// processes call themselves: nothing in them is trusted, and what is printed is
// made harmless for a terminal.
package explain
