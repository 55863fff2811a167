package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// What is known of packets only after they were told, or without their socket.

// clear gives c what was kept out of it and the connections it was made of, when
// now no other could own it: packets may be told before both ends have been paired.
func (j *Joiner) clear(c *conn, k flows.Key) {
	var doubtful *conn
	for r := j.tuples[indexKey(k)]; r != nil; r = r.next {
		switch {
		case r.c.ambiguous && !r.c.done:
			doubtful = r.c
		case r.c != c && r.c.distance(c.start, c.last) == 0:
			return
		}
	}
	if doubtful != nil && c.distance(doubtful.start, doubtful.last) == 0 {
		doubtful.rivals = Rivals{} // they were the parts of c
		j.merge(c, doubtful)
		j.matched(c, MethodTuple)
	}
}

// adoptedBy is how the packets that came first belong to the socket e.
func (c *conn) adoptedBy(e *end) Method {
	for i := range c.slots {
		if s := &c.slots[i]; s.cookie[0] == e.cookie || s.cookie[1] == e.cookie {
			return MethodCookie
		}
	}
	return MethodTuple
}

// maxKernels bounds the ports of the kernel's own.
const maxKernels = 4096

// kernelOf returns the kernel as the owner of an end that lives here without a
// socket: a tunnel's, which receives on a port of the kernel's, and sends to the
// same one from ports that are no socket's.
func (j *Joiner) kernelOf(c *conn) *kprobes.Owner {
	if len(j.kernels) == 0 || c.key.Proto != flows.UDP || c.hasEnd() {
		return nil
	}
	for _, port := range [...]uint16{c.key.DstPort, c.key.SrcPort} {
		if o, ok := j.kernels[listenKey{j.cfg.HostNetNS, port, flows.UDP}]; ok {
			return &o
		}
	}
	return nil
}
