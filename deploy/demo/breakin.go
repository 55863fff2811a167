package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// breakIn says when somebody is in the web server who does what it never did: some time
// after it started, by when Weir has learnt what it does (deploy/compose/weir/demo.yaml),
// and again and again.
type breakIn struct{ after, every time.Duration }

// run looks around from here until ctx ends.
func (b breakIn) run(ctx context.Context, look func(context.Context)) {
	for wait := b.after; rest(ctx, wait); wait = b.every {
		look(ctx)
	}
}

const (
	// tried is how many ports around the cache's are: more than anomaly.scan_ports.
	tried = 80
	// taken is how many entries of the cache are read.
	taken = 20
)

// lookAround tries ports of the cache's host and reads the cache, which only the API does
// otherwise, as soon as it listens.
func lookAround(ctx context.Context, cache string) error {
	name, service, err := net.SplitHostPort(cache)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return err
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	open, d := 0, net.Dialer{Timeout: 200 * time.Millisecond}
	for p := max(1, port-tried/2); p < port+tried/2 && p < 1<<16; p++ {
		if c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(addrs[0], strconv.Itoa(p))); err == nil {
			open++
			c.Close()
		}
	}
	for i := range taken {
		for { // the cache may have hung up just now
			if _, err = lookup(ctx, cache, fmt.Sprintf("/cart/%d", i)); err == nil {
				break
			}
			if !rest(ctx, time.Second) {
				return err
			}
		}
	}
	fmt.Printf("somebody in the web server has tried %d ports of %s, found %d open and read %d entries\n", tried, name, open, taken)
	return nil
}
