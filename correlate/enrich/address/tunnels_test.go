package address

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// D16: what the packets of each kind of tunnel look like from outside.
func TestTunnels(t *testing.T) {
	for _, c := range []struct {
		link netlink.Link
		want []correlate.Tunnel
	}{
		{&netlink.Vxlan{Port: 4789}, []correlate.Tunnel{{Kind: "vxlan", Proto: flows.UDP, Port: 4789}}},
		{&netlink.Geneve{Dport: 6081}, []correlate.Tunnel{{Kind: "geneve", Proto: flows.UDP, Port: 6081}}},
		{&netlink.Gretap{}, []correlate.Tunnel{{Kind: "gre", Proto: 47}}},
		{&netlink.Gretun{}, []correlate.Tunnel{{Kind: "gre", Proto: 47}}},
		{&netlink.Iptun{}, []correlate.Tunnel{{Kind: "ipip", Proto: 4}}},
		{&netlink.Sittun{}, []correlate.Tunnel{{Kind: "sit", Proto: 41}}},
		{&netlink.Ip6tnl{}, []correlate.Tunnel{{Kind: "ip6tnl", Proto: 4}, {Kind: "ip6tnl", Proto: 41}}},
		{&netlink.Vxlan{}, nil},     // external mode before it is up
		{&netlink.Wireguard{}, nil}, // no such device: no port
		{&netlink.Bridge{}, nil},
	} {
		if got := tunnelsOf(c.link); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.link.Type(), got, c.want)
		}
	}
}
