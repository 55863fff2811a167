package requests

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7"
)

// The toy protocol: "?operation\n" is answered by "!status\n", one at a time; a
// status that begins with an E has failed.

func toySpecs() []l7.Spec {
	return []l7.Spec{toySpec(l7.Redis, false), toySpec(l7.DNS, true)}
}

func toySpec(p l7.Protocol, datagram bool) l7.Spec {
	return l7.Spec{Protocol: p, Datagram: datagram, Match: func(d l7.Dir, b []byte) l7.Verdict {
		if b[0] == [2]byte{'?', '!'}[d] && b[len(b)-1] == '\n' {
			return l7.Yes
		}
		return l7.No
	}, New: func(emit func(*l7.Message)) l7.Parser { return &toyParser{emit: emit, m: l7.Message{Protocol: p}} }}
}

type toyParser struct {
	emit func(*l7.Message)
	op   [64]byte
	m    l7.Message
	open bool
}

func (p *toyParser) Data(c *l7.Chunk) {
	line := bytes.TrimSuffix(c.Data[1:], []byte("\n"))
	m := &p.m
	if c.Dir == l7.ToServer {
		if p.open {
			p.finish(l7.Lost)
		}
		*m = l7.Message{Protocol: m.Protocol, Operation: p.op[:copy(p.op[:], line)], RequestFirst: c.Time, RequestLast: c.Time, RequestOctets: uint64(len(c.Data))}
		p.open = true
		return
	}
	m.Status, m.Failed = line, len(line) > 0 && line[0] == 'E'
	m.ResponseFirst, m.ResponseLast, m.ResponseOctets = c.Time, c.Time, uint64(len(c.Data))
	p.finish(l7.Answered)
}

func (p *toyParser) finish(o l7.Outcome) {
	if !p.open {
		return
	}
	p.open, p.m.Outcome = false, o
	p.emit(&p.m)
}

// Opaque makes TLS of it: all that follows an answer is encrypted.
func (p *toyParser) Opaque() bool { return p.m.Protocol == l7.TLS && p.m.ResponseFirst != 0 }

func (p *toyParser) Idle() bool               { return !p.open }
func (p *toyParser) Gap(l7.Dir, int64, int64) { p.finish(l7.Lost) }
func (p *toyParser) End(int64)                { p.finish(l7.Unanswered) }
