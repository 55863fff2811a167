package address

import (
	"context"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/machine"
)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

func TestFollowsTheKernel(t *testing.T) {
	machine.Root(t, "adds an address")
	const dev, a4, a6 = "weirF0", "198.51.100.77", "2001:db8::77"
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	ip("link", "add", dev, "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", dev).Run() })

	tab := New(Config{Reread: time.Hour}) // changes must come by themselves
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tab.Run(ctx) }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in 10 s: %s", what)
			}
		}
	}
	until("first list", func() bool { return tab.Stats().Addresses > 0 })
	if tab.IsLocal(addr(a4)) || tab.IsLocal(addr(a6)) {
		t.Fatal("local before they were added")
	}
	ip("addr", "add", a4+"/32", "dev", dev)
	ip("addr", "add", a6+"/128", "dev", dev, "nodad")
	until("both addresses", func() bool { return tab.IsLocal(addr(a4)) && tab.IsLocal(addr(a6)) })
	ip("addr", "del", a4+"/32", "dev", dev)
	until("one gone", func() bool { return !tab.IsLocal(addr(a4)) })
	ip("link", "add", "weirF1", "type", "vxlan", "id", "9", "dstport", "48473", "local", "127.0.0.1") // no address: a device only
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "weirF1").Run() })
	until("the tunnel", func() bool {
		return slices.Contains(tab.Tunnels(), correlate.Tunnel{Kind: "vxlan", Proto: flows.UDP, Port: 48473})
	})
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
}

func TestIsLocal(t *testing.T) {
	tab := New(Config{})
	if err := tab.Bootstrap(); err != nil {
		t.Skip(err)
	}
	if err := tab.Bootstrap(); err != nil || tab.Stats().Changes > 1 {
		t.Errorf("%v, %+v", err, tab.Stats())
	}
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "::1"} {
		if !tab.IsLocal(addr(a)) {
			t.Error(a, "is not local")
		}
	}
	for _, a := range []string{"203.0.113.200", "2001:db8:dead::1", "0.0.0.0"} {
		if tab.IsLocal(addr(a)) {
			t.Error(a, "is local")
		}
	}
	if n := testing.AllocsPerRun(100, func() { tab.IsLocal(addr("203.0.113.200")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (Config{Reread: -1}).Validate() == nil {
		t.Error("negative time accepted")
	}
}
