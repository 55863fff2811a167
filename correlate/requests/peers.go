package requests

import "github.com/weir-probe/weir/flows"

// remoteOf is the peer in the key of a datagram socket. The socket's own address is
// left out: where it is translated in the socket's namespace, what is sent has
// another one than what is received.
func remoteOf(k flows.Key) flows.Key {
	return flows.Key{Dst: k.Dst, DstPort: k.DstPort, Proto: k.Proto}
}

// alias finds out that id, from which a datagram comes, is another name of a peer
// that was sent to: a service whose address is translated where the socket sends
// (Docker's resolver at 127.0.0.11) leaves under one name and answers under the
// other. So it is taken where the only peer that the socket still waits for has
// never answered.
func (t *Tracker) alias(id streamKey, out bool) {
	s := t.waiting[id.cookie]
	if out || s == nil || s.answered || s.also != (streamKey{}) || t.streams[id] != nil {
		return
	}
	s.also = id
	t.streams[id] = s
}

// meet notes that a datagram passed between a socket and a peer.
func (t *Tracker) meet(s *stream, out bool) {
	w, some := t.waiting[s.id.cookie]
	switch {
	case !out:
		if s.answered = true; w == s {
			delete(t.waiting, s.id.cookie)
		}
	case s.answered || w == s:
	case some:
		t.waiting[s.id.cookie] = nil // several: none of them can be told from another
	case len(t.waiting) < t.cfg.MaxConversations:
		t.waiting[s.id.cookie] = s
	}
}
