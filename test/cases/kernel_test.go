package cases

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

// A tunnel's socket is the kernel's: the outer packets belong to it and to no
// process that happens to run, the inner connection to its own processes.
func TestCaseA14_TunnelSocket(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 14)
	const port = 4914
	l.host.Run(t, "ip", "link", "add", "wlx14", "type", "vxlan", "id", "14", "local", l.here, "remote", l.there, "dstport", fmt.Sprint(port))
	t.Cleanup(func() { l.host.Run(t, "ip", "link", "del", "wlx14") })
	l.box.Run(t, "ip", "link", "add", "wlx14", "type", "vxlan", "id", "14", "local", l.there, "remote", l.here, "dstport", fmt.Sprint(port))
	l.host.Address(t, "wlx14", "10.201.114.1/24")
	l.box.Address(t, "wlx14", "10.201.114.2/24")
	rows.settle(t) // until the packets of both devices are seen
	server := spawn(t, l.host, "serve", "10.201.114.1:0", "3000")
	inner := server.number()
	c := spawn(t, l.box, "call", fmt.Sprint("10.201.114.1:", inner), "20000")
	c.number()
	c.ended()
	for _, got := range rows.final(t, 1, serverPort(inner)) {
		want(t, got, fields{"client_pid": c.Process.Pid, "server_pid": server.Process.Pid, "to_server_bytes": 20000, "to_client_bytes": 3000})
	}
	// Outer packets that arrive, and outer packets that leave. Only this test's
	// are told with the kernel as an end.
	for _, end := range []string{"client", "server"} {
		var octets int64
		probe.Until(t, patience, end+" is the kernel", func() error {
			octets = 0
			for _, x := range rows.all(t, "flow", both(proto("udp"), func(x row) bool { return x.tag(end) == "kernel" })) {
				want(t, x, fields{end + "_process": "kernel", end + "_kind": "process", "attribution": "inferred", "reporter": end})
				octets += x.num("to_server_bytes")
			}
			if octets < map[string]int64{"client": 3000, "server": 20000}[end] {
				return fmt.Errorf("%d octets", octets)
			}
			return nil
		})
	}
}
