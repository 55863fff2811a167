package explain

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
)

// Selector says which connections are meant: every condition that is given must
// hold. The zero value means all.
type Selector struct {
	terms []term // each for an end of its own: at most two
	// PID, Process and Container are of either end, zero for any.
	PID                int64
	Process, Container string
	// From and To, unix ns: the connection lived at some time between them.
	From, To int64
}

// term is what is said of one end.
type term struct {
	addr   netip.Addr // invalid for any
	port   int        // 0 for any
	cookie int64      // of its socket; with port: either of them
}

// Terms takes the words of a command line: COOKIE, ADDRESS, ADDRESS:PORT,
// [IPV6]:PORT, :PORT or PORT, one or two of them.
func (s *Selector) Terms(words []string) error {
	for _, w := range words {
		t, err := parseTerm(w)
		if err != nil {
			return err
		}
		s.terms = append(s.terms, t)
	}
	if len(s.terms) > 2 {
		return fmt.Errorf("%d ends named: a connection has two, client and server, in either order", len(s.terms))
	}
	return nil
}

func parseTerm(w string) (term, error) {
	if hex, ok := strings.CutPrefix(w, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 63)
		if err != nil || n == 0 {
			return term{}, fmt.Errorf("%.60q is not a socket cookie", w)
		}
		return term{cookie: int64(n)}, nil
	}
	if n, err := strconv.ParseUint(w, 10, 63); err == nil && n > 0 {
		if n > 65535 {
			return term{cookie: int64(n)}, nil
		}
		return term{port: int(n), cookie: int64(n)}, nil // the first cookies of a host are small
	}
	if a, err := netip.ParseAddr(strings.Trim(w, "[]")); err == nil && a.Zone() == "" {
		return term{addr: a.Unmap()}, nil
	}
	if a, err := netip.ParseAddrPort(w); err == nil && a.Addr().Zone() == "" {
		return term{addr: a.Addr().Unmap(), port: int(a.Port())}, nil
	}
	if p, ok := strings.CutPrefix(w, ":"); ok {
		if n, err := strconv.ParseUint(p, 10, 16); err == nil && n > 0 {
			return term{port: int(n)}, nil
		}
	}
	return term{}, fmt.Errorf("%.60q is neither a socket cookie nor a port (443, :443), an address, ADDRESS:PORT or [IPV6]:PORT", w)
}

// Could says, by the views of its ends, whether a connection of the joiner's can
// be meant.
func (s *Selector) Could(sides []correlate.Side) bool {
	for _, t := range s.terms {
		if !slices.ContainsFunc(sides, func(v correlate.Side) bool {
			return t.cookie != 0 && t.cookie == int64(v.Cookie) ||
				(t.port != 0 || t.addr.IsValid()) && t.meets(netip.AddrPortFrom(v.Addr.Netip(), v.Port))
		}) {
			return false
		}
	}
	return true
}

// errWindow is a time range that holds nothing.
var errWindow = errors.New("the time range ends before it begins")

// maybe says, without parsing, whether a line can be meant.
func (s *Selector) maybe(line []byte) bool {
	for _, t := range s.terms {
		if !t.maybe(line) {
			return false
		}
	}
	return true
}

func (t term) maybe(line []byte) bool {
	var buf [64]byte
	ends := func(name string, n int64) bool {
		b := append(append(buf[:0], name...), '=')
		return bytes.Contains(line, append(strconv.AppendInt(b, n, 10), 'i'))
	}
	if t.addr.IsValid() {
		if !bytes.Contains(line, t.addr.AppendTo(buf[:0])) {
			return false
		}
	}
	switch {
	case t.port != 0 && ends("port", int64(t.port)):
		return true
	case t.cookie != 0 && ends("cookie", t.cookie):
		return true
	}
	return t.port == 0 && t.cookie == 0
}

// Match says whether a row is meant.
func (s *Selector) Match(r *Row) bool {
	if s.From != 0 && r.Time < s.From || s.To != 0 && r.start() > s.To {
		return false
	}
	if s.PID != 0 && !either(func(end int) bool {
		return r.Int(sink.LogPID[end]) == s.PID || r.Int(sink.LogCreatorPID[end]) == s.PID || r.Int(sink.LogAcceptPID[end]) == s.PID
	}) {
		return false
	}
	if s.Process != "" && !either(func(end int) bool { return r.Text(sink.LogProcess[end]) == s.Process }) {
		return false
	}
	if s.Container != "" && !either(func(end int) bool {
		id := r.Text(sink.LogContainerID[end])
		return r.Text(sink.LogContainer[end]) == s.Container || r.Tags[sink.TagName[end]] == s.Container ||
			len(s.Container) >= 6 && strings.HasPrefix(id, s.Container)
	}) {
		return false
	}
	switch len(s.terms) {
	case 0:
		return true
	case 1:
		return either(func(end int) bool { return s.terms[0].match(r, end) })
	}
	return either(func(end int) bool { return s.terms[0].match(r, end) && s.terms[1].match(r, 1-end) })
}

func either(f func(end int) bool) bool {
	return f(sink.ClientEnd) || f(sink.ServerEnd)
}

func (t term) match(r *Row, end int) bool {
	if t.cookie != 0 && r.Int(sink.LogCookie[end]) == t.cookie {
		return true
	}
	if t.port == 0 && !t.addr.IsValid() {
		return false // a cookie, and not this one
	}
	own, nat := r.addr(end)
	return t.meets(own) || t.meets(nat)
}

func (t term) meets(a netip.AddrPort) bool {
	return a.IsValid() && (t.port == 0 || t.port == int(a.Port())) && (!t.addr.IsValid() || t.addr == a.Addr())
}
