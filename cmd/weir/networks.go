package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-probe/weir/correlate/enrich"
)

// What the configuration says of networks: names of them, hosts that they belong to,
// zones, and where probes run.

const zoneRemedy = "set zone (WEIR_ZONE), or name this host in zones"

func (c *Config) validateNetworks() error {
	for key, networks := range map[string]map[string]string{"subnets": c.Subnets, "nodes": c.Nodes} {
		for cidr, name := range networks {
			if _, err := netip.ParsePrefix(cidr); err != nil || name == "" {
				return fmt.Errorf("%s: %q: %q: needs a network like 10.0.0.0/8 and a name", key, cidr, name)
			}
		}
	}
	for _, cidr := range c.Fleet {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return fmt.Errorf("fleet: %q is not a network like 10.0.0.0/8", cidr)
		}
	}
	return c.validateZones()
}

// validateZones wants networks, or hosts: this one, and the nodes. Where no nodes are
// named one file may name all hosts of a fleet, so that each finds itself.
func (c *Config) validateZones() error {
	for _, key := range slices.Sorted(maps.Keys(c.Zones)) {
		zone := c.Zones[key]
		_, err := netip.ParsePrefix(key)
		_, bare := netip.ParseAddr(key)
		switch {
		case zone == "":
			return fmt.Errorf("zones: %q has no zone", key)
		case err == nil:
		case bare == nil || strings.Contains(key, "/") || key == "":
			return fmt.Errorf("zones: %q: needs a network like 10.1.0.0/16, or the name of a host", key)
		case key != c.Host && len(c.Nodes) > 0 && !slices.Contains(slices.Collect(maps.Values(c.Nodes)), key):
			return fmt.Errorf("zones: %q is neither a network like 10.1.0.0/16 nor a host named in nodes", key)
		}
	}
	said := map[netip.Prefix]string{}
	for _, s := range c.zones() {
		if z, ok := said[s.Prefix]; ok && z != s.Name {
			return fmt.Errorf("zones: %s is said to be in two, %s and %s", s.Prefix, min(z, s.Name), max(z, s.Name))
		}
		said[s.Prefix] = s.Name
	}
	return nil
}

// ownZone is where this host is, "" where that is not known.
func (c *Config) ownZone() string { return cmp.Or(c.Zone, c.Zones[c.Host]) }

func examineZone(cfg *Config) check {
	c := check{Area: "host", Name: "zone", State: plain, Detail: cmp.Or(cfg.ownZone(), "not known")}
	if cfg.ownZone() == "" && len(cfg.Zones) > 0 {
		c.State, c.Detail = limited, "known of others and not of this host: what goes between zones is not told"
		c.Remedy = zoneRemedy
	}
	return c
}

// zones returns the networks whose zone is known: by themselves, or by their node.
func (c *Config) zones() []enrich.Subnet {
	out := named(c.Zones)
	for _, s := range named(c.Nodes) {
		if z := c.Zones[s.Name]; z != "" {
			out = append(out, enrich.Subnet{Prefix: s.Prefix, Name: z})
		}
	}
	return out
}

// sameNetworks says whether two configurations say the same of networks.
func (c *Config) sameNetworks(o *Config) bool {
	return maps.Equal(c.Subnets, o.Subnets) && maps.Equal(c.Nodes, o.Nodes) && slices.Equal(c.Fleet, o.Fleet) &&
		c.Zone == o.Zone && maps.Equal(c.Zones, o.Zones)
}

// named returns networks with their names, and leaves out what is none.
func named(networks map[string]string) []enrich.Subnet {
	var out []enrich.Subnet
	for cidr, name := range networks {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			out = append(out, enrich.Subnet{Prefix: p.Masked(), Name: name})
		}
	}
	return out
}

// fleet returns the networks of hosts with a probe.
func (c *Config) fleet() []netip.Prefix {
	var out []netip.Prefix
	for _, cidr := range c.Fleet {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}
