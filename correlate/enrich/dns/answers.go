package dns

import (
	"fmt"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// maxRecords bounds what is read of one answer.
const maxRecords = 64

// reader takes answers apart. It is reused.
type reader struct {
	p    dnsmessage.Parser
	name []byte
}

// answers hands the addresses of a response to yield: each is an address of the
// name that was asked for, whatever CNAME records (RFC 1034 section 3.6.2) lie
// between, since a resolver answers the question only. name is lower case, without
// the dot at the end, and valid during the call. What was read before an error
// counts: a datagram may be cut.
func (r *reader) answers(b []byte, yield func(name []byte, a netip.Addr, ttl uint32)) error {
	h, err := r.p.Start(b)
	if err != nil {
		return fmt.Errorf("DNS header: %w", err)
	}
	if h.RCode != dnsmessage.RCodeSuccess {
		return nil
	}
	q, err := r.p.Question()
	if err != nil {
		return fmt.Errorf("DNS question: %w", err)
	}
	r.name = lower(r.name[:0], q.Name.Data[:q.Name.Length])
	if err := r.p.SkipAllQuestions(); err != nil {
		return fmt.Errorf("DNS question: %w", err)
	}
	least := ^uint32(0) // of a chain, the shortest life counts
	for range maxRecords {
		rh, err := r.p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return fmt.Errorf("DNS answer: %w", err)
		}
		if least = min(least, rh.TTL); q.Type != rh.Type {
			err = r.p.SkipAnswer()
		} else if rh.Type == dnsmessage.TypeA {
			var a dnsmessage.AResource
			if a, err = r.p.AResource(); err == nil {
				yield(r.name, netip.AddrFrom4(a.A), least)
			}
		} else if rh.Type == dnsmessage.TypeAAAA {
			var a dnsmessage.AAAAResource
			if a, err = r.p.AAAAResource(); err == nil {
				yield(r.name, netip.AddrFrom16(a.AAAA), least)
			}
		} else {
			err = r.p.SkipAnswer()
		}
		if err != nil {
			return fmt.Errorf("DNS answer: %w", err)
		}
	}
	return nil
}

func lower(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	if n := len(dst); n > 0 && dst[n-1] == '.' {
		dst = dst[:n-1]
	}
	return dst
}
