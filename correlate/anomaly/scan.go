package anomaly

import (
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

const (
	// scanTime is over what time attempts are counted, in two turns.
	scanTime = 10 * minute
	// maxSources bounds who is counted at once.
	maxSources = 1024
	// samples is how many targets are remembered as evidence.
	samples = 8
)

// distinct counts different values roughly (linear counting) over the last two turns,
// in 256 octets.
type distinct struct{ now, before [distinctWords]uint64 }

const distinctWords = 16 // of 64 bits

// add says whether a value is a new one.
func (c *distinct) add(h uint64) bool {
	w, b := h>>6%distinctWords, uint64(1)<<(h&63)
	first := (c.now[w]|c.before[w])&b == 0
	c.now[w] |= b
	return first
}

// turn forgets what was added before the last turn.
func (c *distinct) turn() { c.before, c.now = c.now, [distinctWords]uint64{} }

// set is how many bits are.
func (c *distinct) set() (n int) {
	for i := range c.now {
		n += bits.OnesCount64(c.now[i] | c.before[i])
	}
	return n
}

// count is exact for a few and within some percent up to maxDistinct.
func (c *distinct) count() int {
	const size = 64 * distinctWords
	n := c.set()
	if n >= size {
		return 7 * size
	}
	return int(math.Round(-size * math.Log(1-float64(n)/size)))
}

// source is somebody whose attempts lead to nothing.
type source struct {
	key          nodeKey
	hosts, ports distinct
	first        int64
	tries        [2]int // this turn and the one before
	sample       [samples]flows.Addr
	port         [samples]uint16
	sampled      int
	proto        flows.Proto
	process      *correlate.Process
	container    string
}

// scans counts attempts by source.
type scans struct {
	sources map[nodeKey]*source
	free    []*source
	begun   int64
	refused uint64
}

func newScans() scans { return scans{sources: map[nodeKey]*source{}} }

// turn forgets what is older than a turn, and who did nothing since.
func (s *scans) turn(t int64) {
	for k, src := range s.sources {
		if src.tries[0] == 0 {
			delete(s.sources, k)
			s.free = append(s.free, src)
			continue
		}
		src.tries[1], src.tries[0] = src.tries[0], 0
		src.hosts.turn()
		src.ports.turn()
	}
	s.begun = t
}

// renew forgets all sources.
func (s *scans) renew(t int64) {
	for k, src := range s.sources {
		delete(s.sources, k)
		s.free = append(s.free, src)
	}
	s.begun = t
}

// sourceKey tells those elsewhere apart by their addresses.
func sourceKey(r *correlate.Record, ck nodeKey) nodeKey {
	if abroad(ck.kind) {
		return nodeKey{kind: ck.kind, net: r.Client.Addr}
	}
	return ck
}

// attempt counts one.
func (s *scans) attempt(r *correlate.Record, ck nodeKey, t int64) {
	k := sourceKey(r, ck)
	src := s.sources[k]
	if src == nil {
		if len(s.sources) >= maxSources {
			s.refused++
			return
		}
		if n := len(s.free); n > 0 {
			src, s.free = s.free[n-1], s.free[:n-1]
			*src = source{}
		} else {
			src = new(source)
		}
		src.key, src.first = k, t
		s.sources[k] = src
	}
	src.tries[0]++
	src.proto = protoOf(r.Proto)
	if r.Client.Process != nil {
		src.process, src.container = r.Client.Process, containerName(&r.Client)
	}
	a := mix(r.Server.Addr)
	newHost, newPort := src.hosts.add(a), src.ports.add(spread(uint64(r.Server.Port)+1))
	if (newHost || newPort) && src.sampled < samples {
		src.sample[src.sampled], src.port[src.sampled] = r.Server.Addr, r.Server.Port
		src.sampled++
	}
}

// targets is how many different ones a client has tried lately.
func (s *scans) targets(r *correlate.Record, ck nodeKey) int {
	src := s.sources[sourceKey(r, ck)]
	if src == nil {
		return 0
	}
	return src.targets()
}

func (s *source) targets() int { return max(s.hosts.set(), s.ports.set()) }

func mix(a flows.Addr) uint64 {
	var h uint64
	for _, c := range a {
		h = h*0x100000001b3 ^ uint64(c)
	}
	return spread(h)
}

// spread makes all bits of h depend on all others (SplitMix64).
func spread(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return bits.ReverseBytes64(h ^ h>>31)
}

// judgeScans ends a minute of everybody's attempts.
func (d *Detector) judgeScans(t int64) {
	for _, src := range d.scans.sources {
		d.judgeSource(src, t)
	}
	if t-d.scans.begun >= scanTime/2 {
		d.scans.turn(t)
	}
}

func (d *Detector) judgeSource(src *source, t int64) {
	hosts, ports := src.hosts.count(), src.ports.count()
	k := src.key
	if abroad(k.kind) && k.name == "" {
		k = nodeKey{kind: k.kind, name: k.kind.String()}
	}
	n := d.nodes.byKey[k] // what it is known to do; nil: nothing
	if d.learning() || t <= d.steady {
		if n != nil {
			n.hosts, n.ports = max(n.hosts, uint16(hosts)), max(n.ports, uint16(ports))
		}
		return
	}
	th := d.cfg.limits(k.name, "", 0)
	hostLimit, portLimit := th.ScanHosts, th.ScanPorts
	if n != nil {
		hostLimit, portLimit = max(hostLimit, 2*int(n.hosts)), max(portLimit, 2*int(n.ports))
	}
	if hosts >= hostLimit {
		d.scan(HostScan, src, hosts, hostLimit, t)
	}
	if ports >= portLimit {
		d.scan(PortScan, src, ports, portLimit, t)
	}
}

func (d *Detector) scan(t Type, src *source, seen, limit int, now int64) {
	client, address := &node{nodeKey: src.key}, ""
	if abroad(src.key.kind) && src.key.name == "" {
		client.name, address = src.key.kind.String(), src.key.net.String() // who scans the world adds no series
	}
	x := Anomaly{Type: t, Since: src.first, Time: now, Proto: src.proto, Expected: float64(limit), Seen: float64(seen), Score: float64(seen) / float64(limit),
		Client: party(client, src.process, src.container)}
	x.Client.Address = address
	hosts, ports := src.hosts.count(), src.ports.count()
	if t == PortScan && hosts == 1 {
		x.Server.Address = src.sample[0].String()
	}
	who := x.Client.Name
	if address != "" {
		who = address
	}
	x.Message = fmt.Sprintf("%s tried %d ports of %d hosts in vain, %d times", who, ports, hosts, src.tries[0]+src.tries[1])
	var b strings.Builder
	fmt.Fprintf(&b, "hosts=%d ports=%d attempts=%d targets=", hosts, ports, src.tries[0]+src.tries[1])
	for i := range src.sampled {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%d", src.sample[i], src.port[i])
	}
	x.Evidence = b.String()
	d.begin(x, 2*scanTime)
}
