package engine

import (
	"strings"
	"unicode/utf8"
)

// Limits on what an engine, or who names containers in it, can make us keep, octets.
const (
	MaxName  = 256
	MaxImage = 512
	MaxLabel = 256
	// MaxAddresses bounds the addresses of one container.
	MaxAddresses = 64
)

// IsID says whether s is a container id: nothing else becomes a key or a path.
func IsID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Limit cuts s to n octets at a character's border; its content is data and is
// kept, whatever it is. The result shares no memory with what s was part of.
func Limit(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(s)
}
