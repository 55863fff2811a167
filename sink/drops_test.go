package sink

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/usage"
)

func TestRowsOfDrops(t *testing.T) {
	d := NewDrops(testConfig())
	web := container("shop", "web", "shop-web-1", "nginx")
	host := correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "h1"}
	lab := correlate.Endpoint{Kind: correlate.KindUnknown}
	d.Add(&web, "receive_buffer", "socket_rcvbuff", 3, 300)
	d.Add(&web, "receive_buffer", "socket_rcvbuff", 2, 200) // another replica's group
	d.Add(&host, "no_socket", "no_socket", 1, 40)
	d.Add(&lab, "policy", "netfilter_drop", 1, 40)
	bs := d.Flush(at(1))
	points(t, bs)
	want := "drop,class=receive_buffer,container=shop-web-1,host=h1,kind=container,name=shop/web,reason=socket_rcvbuff dropped_packets=5i,dropped_bytes=500i 1790000010000000000\n" +
		"drop,class=no_socket,host=h1,kind=host,name=h1,reason=no_socket dropped_packets=1i,dropped_bytes=40i 1790000010000000000\n" +
		"drop,class=policy,host=h1,kind=unknown,name=unknown,reason=netfilter_drop dropped_packets=1i,dropped_bytes=40i 1790000010000000000\n"
	if got := string(bs[0].Lines); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if len(d.Flush(at(2))) != 0 {
		t.Error("an interval without a drop has no rows")
	}
}

// Past the budget drops are in coarser rows, and every packet is in one.
func TestDropBudget(t *testing.T) {
	cfg := testConfig()
	cfg.SeriesBudget = minSeriesBudget
	d := NewDrops(cfg)
	const n = 2 * minSeriesBudget
	for interval := range 3 {
		for i := range n {
			e := plain(fmt.Sprintf("svc%c%c-%d", 'a'+i%26, 'a'+i/26%26, i), "img:1")
			d.Add(&e, "tcp", "tcp_flags", 1, 40)
		}
		var sum int64
		for _, p := range points(t, d.Flush(at(interval))) {
			sum += p.int(FieldDroppedPackets)
		}
		if s := d.Stats(); sum != n || s.Series > minSeriesBudget || s.Folded == 0 {
			t.Errorf("%d packets in rows, want %d; %+v", sum, n, s)
		}
	}
	expired := at(1 << 20)
	d.Flush(expired)
	if s := d.Stats(); s.Series != 0 {
		t.Errorf("%d series are kept for ever", s.Series)
	}
}

// container has the packets of what has a row there, until the row is written.
func TestDropsOfContainers(t *testing.T) {
	u := NewContainers(testConfig())
	web := container("shop", "web", "shop-web-1", "nginx")
	host := correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "h1"}
	u.Flush(at(0)) // the clock runs
	u.AddDropped(&web, 7)
	u.AddDropped(&host, 9)
	if rows := points(t, u.Flush(at(1))); len(rows) != 0 {
		t.Errorf("rows for drops alone: %v", rows)
	}
	for i, want := range []bool{true, false} {
		u.Add(&web, used(map[usage.Value]uint64{usage.PIDs: 1}))
		bs := u.Flush(at(2 + i))
		points(t, bs)
		if got := strings.Contains(string(bs[0].Lines), "dropped_packets=7i"); got != want {
			t.Errorf("%s", bs[0].Lines)
		}
	}
}

// What is known adds nothing to the heap.
func TestDropsDoNotAllocate(t *testing.T) {
	d := NewDrops(testConfig())
	web := container("shop", "web", "shop-web-1", "nginx")
	d.Add(&web, "receive_buffer", "socket_rcvbuff", 3, 300)
	if n := testing.AllocsPerRun(100, func() { d.Add(&web, "receive_buffer", "socket_rcvbuff", 3, 300) }); n != 0 {
		t.Errorf("%v allocations per count", n)
	}
}
