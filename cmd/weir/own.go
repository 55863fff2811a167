package main

import (
	"os"
	"syscall"
)

// Whose sockets are told: the setting sockets.
const (
	socketsAll = "all"
	socketsOwn = "own"
)

// ownNamespace is the inode of the network namespace whose sockets are the only ones to
// be told; 0 for those of all.
func (c *Config) ownNamespace() uint32 {
	if c.Sockets != socketsOwn {
		return 0
	}
	st, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return 0
	}
	return uint32(st.Sys().(*syscall.Stat_t).Ino)
}

// foreign says that an event is of a socket in a network namespace that is none of ours:
// the kernel tells of all.
func (c *collector) foreign(netns uint32) bool { return c.own != 0 && netns != c.own }
