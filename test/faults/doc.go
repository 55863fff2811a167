// Package faults runs the real program, as its user does, and lets happen to it
// what happens to a probe: signals, crashes, a full disk, a database that is
// away, a kernel that has not what it needs.
package faults
