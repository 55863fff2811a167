package main

import (
	"net/netip"
	"sort"
)

// subnetNames names addresses by configured networks; the longest prefix wins.
type subnetNames []subnetName

type subnetName struct {
	prefix netip.Prefix
	name   string
}

// newSubnets takes validated networks.
func newSubnets(byCIDR map[string]string) subnetNames {
	var s subnetNames
	for cidr, name := range byCIDR {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			s = append(s, subnetName{p.Masked(), name})
		}
	}
	sort.Slice(s, func(i, k int) bool { return s[i].prefix.Bits() > s[k].prefix.Bits() })
	return s
}

func (s subnetNames) name(a netip.Addr) string {
	for _, n := range s {
		if n.prefix.Contains(a) {
			return n.name
		}
	}
	return "external"
}
