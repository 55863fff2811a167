package enrich

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weir-probe/weir/flows"
)

// Subnet gives the addresses of a prefix a name.
type Subnet struct {
	Prefix netip.Prefix
	Name   string
}

// subnets finds the longest prefix that holds an address: one map per length in
// use, longest first.
type subnets []level

type level struct {
	bits  int // of the 16-byte form
	names map[flows.Addr]string
}

func newSubnets(list []Subnet) (subnets, error) {
	var s subnets
	for _, n := range list {
		if !n.Prefix.IsValid() || n.Name == "" {
			return nil, fmt.Errorf("subnets: %q named %q: needs a valid prefix and a name", n.Prefix, n.Name)
		}
		bits := n.Prefix.Bits()
		if n.Prefix.Addr().Is4() {
			bits += 96
		}
		i := slices.IndexFunc(s, func(l level) bool { return l.bits == bits })
		if i < 0 {
			i = len(s)
			s = append(s, level{bits, map[flows.Addr]string{}})
		}
		s[i].names[mask(flows.AddrFrom(n.Prefix.Addr()), bits)] = n.Name
	}
	slices.SortFunc(s, func(a, b level) int { return b.bits - a.bits })
	return s, nil
}

func (s subnets) name(a flows.Addr) (string, bool) {
	for i := range s {
		if n, ok := s[i].names[mask(a, s[i].bits)]; ok {
			return n, true
		}
	}
	return "", false
}

// mask clears what follows the first bits of an address.
func mask(a flows.Addr, bits int) flows.Addr {
	for i := range a {
		switch rest := bits - 8*i; {
		case rest <= 0:
			a[i] = 0
		case rest < 8:
			a[i] &= 0xff << (8 - rest)
		}
	}
	return a
}
