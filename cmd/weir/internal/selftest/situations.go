package selftest

import (
	"fmt"
	"net/netip"
	"time"
)

// The ports of servers. A high rate goes to many ports in turn: TIME_WAIT holds
// a pair of ports for a minute.
const (
	plainPort, plainPorts = 9000, 32
	passedPort            = 9100
	closeFirstPort        = 9101
	udpPort               = 9200
	fixedPort             = 9300 // in the two networks that are the same
	closedPort            = 9999
	boundPort             = 40000 // client ports that are chosen, above what the kernel chooses
)

// situation is one kind of traffic of the mix: what a client task does, where,
// and how much of it.
type situation struct {
	name string
	what string // for the person who reads the result
	at   []*box // a client in each
	task task
	// share of the level's connections per second, at most most per second (0: no limit).
	share float64
	most  float64
	skip  string // why it can't be made here
}

// mix is everything a level does. Rates follow from the shares.
func mix(b *bed) []situation {
	one := func(a string, port int) []netip.AddrPort { return []netip.AddrPort{at(a, port)} }
	web, same := []*box{b.web}, []*box{b.c1, b.c2}
	webAddr := netip.MustParseAddr("10.209.1.2")
	return []situation{
		{name: "plain", what: "TCP from container to container", at: web, share: 0.60,
			task: task{Targets: ports("10.209.1.3", plainPort, plainPorts), Request: 100, Reply: 400}},
		{name: "ipv6", what: "the same by IPv6", at: web, share: 0.10, skip: b.noIPv6,
			task: task{Targets: ports("fd09:209:1::3", plainPort, plainPorts), Request: 100, Reply: 400}},
		{name: "short-lived", what: "a process of milliseconds for each connection", at: web, share: 0.05, most: 50,
			task: task{Targets: one("10.209.1.3", plainPort), Request: 100, Reply: 400, Own: "exec", Parallel: 4}},
		{name: "inherited", what: "the parent connects, its child talks", at: web, share: 0.01, most: 10,
			task: task{Targets: one("10.209.1.3", plainPort), Request: 100, Reply: 400, Own: "inherit", Parallel: 2}},
		{name: "passed-on", what: "accepted by one process, served by another (SCM_RIGHTS)", at: web, share: 0.03,
			task: task{Targets: one("10.209.1.3", passedPort), Request: 100, Reply: 400}},
		{name: "port-reuse", what: "the same tuple again and again", at: web, share: 0.03, most: 40,
			task: task{Targets: one("10.209.1.3", closeFirstPort), Request: 100, Reply: 400, CloseFirst: true, FirstPort: boundPort, Parallel: 4}},
		{name: "same-tuple", what: "two networks with the same addresses and ports, at the same time", at: same, share: 0.02, most: 40,
			task: task{Targets: one("10.209.9.3", fixedPort), Request: 100, Reply: 400, Hold: 20 * time.Millisecond, CloseFirst: true, FirstPort: boundPort + 100, Ports: 4, Parallel: 1}},
		{name: "loopback", what: "inside two namespaces, the same ports, at the same time", at: same, share: 0.01, most: 40,
			task: task{Targets: one("127.0.0.1", fixedPort), Request: 100, Reply: 400, Hold: 20 * time.Millisecond, CloseFirst: true, FirstPort: boundPort + 200, Ports: 4, Parallel: 1}},
		{name: "masquerade", what: "out of a container through NAT, replies of many segments", at: web, share: 0.04, skip: b.noNAT,
			task: task{Targets: one("10.209.254.2", plainPort), Request: 200, Reply: 30000}},
		{name: "dnat", what: "from outside to a published port", at: []*box{b.out}, share: 0.04, skip: b.noNAT,
			task: task{Targets: one("10.209.254.1", dnatPort), Request: 100, Reply: 400}},
		{name: "udp", what: "a question and an answer on a connected socket", at: web, share: 0.03,
			task: task{Proto: "udp", Targets: one("10.209.1.3", udpPort), Request: 50, Reply: 200}},
		{name: "udp-sendto", what: "the same on a socket without a peer", at: web, share: 0.02,
			task: task{Proto: "udp", Targets: one("10.209.1.3", udpPort), Request: 50, Reply: 200, Unconnected: true, Source: webAddr}},
		{name: "refused", what: "connections to a port where nobody listens", at: web, share: 0.01, most: 40,
			task: task{Targets: one("10.209.1.3", closedPort), FirstPort: boundPort + 1000, Ports: 1000, Parallel: 1, Source: webAddr}},
		{name: "long-lived", what: "open the whole time, over several intervals", at: web,
			task: task{Targets: one("10.209.1.3", plainPort), Request: 100, Reply: 400, Requests: 10, Parallel: 8}},
	}
}

// servers are the tasks that answer, by box.
func servers(b *bed) map[*box][]task {
	web := task{Do: "serve", TCP: ports("10.209.1.3", plainPort, plainPorts), UDP: []netip.AddrPort{at("0.0.0.0", udpPort)}}
	web.TCP = append(web.TCP, at("10.209.1.3", closeFirstPort))
	if b.noIPv6 == "" {
		web.TCP = append(web.TCP, ports("fd09:209:1::3", plainPort, plainPorts)...)
	}
	return map[*box][]task{
		b.db:  {web, {Do: "serve", TCP: []netip.AddrPort{at("10.209.1.3", passedPort)}, PassOn: true}},
		b.out: {{Do: "serve", TCP: []netip.AddrPort{at("10.209.254.2", plainPort)}}},
		b.s1:  {{Do: "serve", TCP: []netip.AddrPort{at("10.209.9.3", fixedPort)}}},
		b.s2:  {{Do: "serve", TCP: []netip.AddrPort{at("10.209.9.3", fixedPort)}}},
		b.c1:  {{Do: "serve", TCP: []netip.AddrPort{at("127.0.0.1", fixedPort)}}},
		b.c2:  {{Do: "serve", TCP: []netip.AddrPort{at("127.0.0.1", fixedPort)}}},
	}
}

// Rate is connections per second; Max is as many as the machine makes.
type Rate float64

// Max: the plain situation goes as fast as it can, the rest as at 1000.
const Max Rate = 0

func (r Rate) String() string {
	if r == Max {
		return "max"
	}
	return fmt.Sprintf("%g", float64(r))
}

// plan fills in the tasks of a situation for a level.
func (s *situation) plan(r Rate, for_ time.Duration) task {
	t := s.task
	t.Do, t.Situation, t.For = "call", s.name, for_
	if t.Proto == "" {
		t.Proto = "tcp"
	}
	total := float64(r)
	if r == Max {
		total = 1000
	}
	t.Rate = max(total*s.share/float64(len(s.at)), 2)
	if s.most > 0 {
		t.Rate = min(t.Rate, s.most)
	}
	switch {
	case s.share == 0:
		t.Rate, t.For = float64(t.Parallel)*1e3, for_ // all at once; call ends with its time, the connections a little before
	case r == Max && s.name == "plain":
		t.Rate, t.Parallel = 0, 16
	case t.Parallel == 0:
		t.Parallel = 8
	}
	return t
}

func at(addr string, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port))
}

func ports(addr string, first, n int) (all []netip.AddrPort) {
	for i := range n {
		all = append(all, at(addr, first+i))
	}
	return all
}
