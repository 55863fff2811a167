package address

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// IP protocols that are tunnels.
const (
	protoIPIP flows.Proto = 4
	proto6in4 flows.Proto = 41
	protoGRE  flows.Proto = 47
)

// Tunnels returns the tunnels that end at devices of this host; the caller does
// not change the slice.
func (t *Table) Tunnels() []correlate.Tunnel { return *t.tunnels.Load() }

func (t *Table) readTunnels() error {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.errors.Add(1)
		return fmt.Errorf("list the devices of this host: %w", err)
	}
	var all []correlate.Tunnel
	for _, l := range links {
		for _, one := range tunnelsOf(l) {
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	t.tunnels.Store(&all)
	return nil
}

// tunnelsOf returns how the packets look that a device's own are carried in.
func tunnelsOf(l netlink.Link) []correlate.Tunnel {
	switch l := l.(type) {
	case *netlink.Vxlan:
		return udp("vxlan", uint16(l.Port))
	case *netlink.Geneve:
		return udp("geneve", l.Dport)
	case *netlink.Wireguard:
		return udp("wireguard", wireguardPort(l.Attrs().Index))
	case *netlink.Gretap, *netlink.Gretun:
		return []correlate.Tunnel{{Kind: "gre", Proto: protoGRE}}
	case *netlink.Iptun:
		return []correlate.Tunnel{{Kind: "ipip", Proto: protoIPIP}}
	case *netlink.Sittun:
		return []correlate.Tunnel{{Kind: "sit", Proto: proto6in4}}
	case *netlink.Ip6tnl:
		return []correlate.Tunnel{{Kind: "ip6tnl", Proto: protoIPIP}, {Kind: "ip6tnl", Proto: proto6in4}}
	}
	return nil
}

// udp is a tunnel in UDP; a device that is not up has no port.
func udp(kind string, port uint16) []correlate.Tunnel {
	if port == 0 {
		return nil
	}
	return []correlate.Tunnel{{Kind: kind, Proto: flows.UDP, Port: port}}
}

// Of linux/wireguard.h.
const (
	wgGetDevice   = 0
	wgIfindex     = 1
	wgListenPort  = 6
	wgGenlVersion = 1
)

// wireguardPort asks WireGuard's own netlink family; 0 when it does not say.
func wireguardPort(ifindex int) uint16 {
	family, err := netlink.GenlFamilyGet("wireguard")
	if err != nil {
		return 0
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_DUMP)
	req.AddData(&nl.Genlmsg{Command: wgGetDevice, Version: wgGenlVersion})
	req.AddData(nl.NewRtAttr(wgIfindex, nl.Uint32Attr(uint32(ifindex))))
	answers, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0
	}
	for _, answer := range answers {
		if len(answer) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(answer[nl.SizeofGenlmsg:])
		if err != nil {
			continue
		}
		for _, a := range attrs {
			if a.Attr.Type == wgListenPort && len(a.Value) >= 2 {
				return binary.NativeEndian.Uint16(a.Value)
			}
		}
	}
	return 0
}
