package enrich

import (
	"time"

	"github.com/weir-probe/weir/correlate"
)

// spaces is what owners have told of the network namespaces of this host: an
// address belongs to a namespace, and the same one may be a container's in the
// host's network and somebody else's in a network of its own.
type spaces struct {
	host uint32
	of   map[uint32]space
}

// space is one namespace other than the host's. container is nil when sockets of
// more than one were seen in it lately (a pod).
type space struct {
	container *correlate.Container
	seen      int64 // unix ns
}

const (
	// maxSpaces bounds the namespaces remembered; beyond it they are learnt anew.
	maxSpaces = 1 << 14
	// settled is how long a namespace stays a container's after that was last
	// seen; inodes are used again.
	settled = int64(time.Minute)
)

// learn notes that a container has a socket in a namespace.
func (s *spaces) learn(ns uint32, c *correlate.Container, now int64) {
	if ns == 0 || ns == s.host {
		return
	}
	old, ok := s.of[ns]
	if ok && old.container != c && now-old.seen < settled && (old.container == nil || old.container.ID != c.ID) {
		c = nil
	}
	if !ok && len(s.of) >= maxSpaces {
		clear(s.of)
	}
	s.of[ns] = space{c, now}
}

// container is whose namespace it is, nil when it is the host's, shared or not known.
func (s *spaces) container(ns uint32) *correlate.Container { return s.of[ns].container }

// routed says whether the addresses of the host's containers are valid in a
// namespace: the host's own, and those of containers.
func (s *spaces) routed(ns uint32) bool {
	if s.host == 0 || ns == 0 || ns == s.host {
		return true
	}
	_, ok := s.of[ns]
	return ok
}

// network is the name of a network namespace that is somebody's choice, "" of any other:
// those that runtimes give end in a UUID (cni-…, netns-…) and do not last.
func (c *Chain) network(netns uint32) string {
	if c.cfg.Networks == nil {
		return ""
	}
	name := c.cfg.Networks.Name(netns)
	if len(name) >= uuidLength && isUUID(name[len(name)-uuidLength:]) {
		return ""
	}
	return name
}

const uuidLength = 36 // RFC 9562

func isUUID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F'):
			return false
		}
	}
	return true
}
