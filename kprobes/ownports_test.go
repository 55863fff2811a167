package kprobes

import (
	"errors"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

// TestCaseA14_PortsOfTheKernel: the socket of a tunnel is told as the kernel's, a process's
// UDP socket on a port is not.
func TestCaseA14_PortsOfTheKernel(t *testing.T) {
	f := start(t, Config{})
	f.need("post_bind4", "sock_create")
	const (
		vxlanPort     = 4915
		wireguardPort = 4916
	)
	want := map[uint16]bool{}
	var process uint16
	inNetNS(t, func() error {
		for port, l := range map[uint16]netlink.Link{
			vxlanPort:     &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vx"}, VxlanId: 15, Port: vxlanPort, SrcAddr: net.IPv4(127, 0, 0, 1), Group: net.IPv4(127, 0, 0, 2)},
			wireguardPort: &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "wg"}},
		} {
			err := netlink.LinkAdd(l)
			if errors.Is(err, unix.EOPNOTSUPP) {
				t.Logf("no %s here", l.Type())
				continue
			}
			if err == nil {
				err = netlink.LinkSetUp(l)
			}
			if err != nil {
				return err
			}
			if l.Type() == "wireguard" {
				port = 0 // it takes any
			}
			want[port] = true
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer c.Close()
		process = uint16(c.LocalAddr().(*net.UDPAddr).Port)
		return nil
	})
	if len(want) == 0 {
		t.Skip("this kernel has neither vxlan nor wireguard")
	}
	told := map[uint16]bool{}
	f.until("the tunnels' ports", f.drain, func() bool {
		for i := range f.sockets {
			e := &f.sockets[i]
			if e.Role != RoleListener || e.Key.Proto != flows.UDP {
				continue
			}
			if e.Key.SrcPort == process || !e.Owner.IsKernel() {
				t.Fatalf("a process's port %d: %+v", process, e)
			}
			if e.Key.SrcPort != vxlanPort {
				e.Key.SrcPort = 0
			}
			told[e.Key.SrcPort] = true
		}
		return len(told) >= len(want)
	})
}
