package main

import (
	"fmt"
	"time"

	"github.com/weir-probe/weir/sink"
)

// manyDrops is how many packets an end must lose for one reason in an interval for that
// to be an event.
const manyDrops = 10

// telling are the classes of drops that say that something is wrong on this host; the
// others are of packets that nobody was to get.
var telling = map[string]string{
	"receive_buffer": "its process reads too slowly, or its buffer is too small",
	"listen_queue":   "its process accepts too slowly",
	"neighbour":      "the next hop did not answer",
	"queue":          "a queue of a device was full",
	"memory":         "the kernel had no memory",
	"conntrack":      "the table of connections was full",
}

// dropping tells of ends that begin to lose packets. It belongs to the collector's
// goroutine.
type dropping struct{ news[dropID] }

type dropID struct{ name, reason string }

// take looks at what one end lost for one reason in the interval that ends at t.
func (d *dropping) take(t time.Time, name, class, reason string, packets, octets uint64, to *sink.Events) {
	why, ok := telling[class]
	if !ok || packets < manyDrops || !d.is(dropID{name, reason}, t) {
		return
	}
	to.Add(t, &sink.Event{
		Type: sink.EventDrop, Severity: sink.SeverityWarning, Server: name, Expected: manyDrops, Seen: float64(packets),
		Message:  fmt.Sprintf("%s dropped (%s): %s", count(packets, "packet", "packets"), reason, why),
		Evidence: fmt.Sprintf("class=%s reason=%s dropped_packets=%d dropped_bytes=%d", class, reason, packets, octets),
	})
}
