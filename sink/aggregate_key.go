package sink

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// protoOther stands for protocols without a name at levelLast (255 is reserved
// by IANA).
const protoOther flows.Proto = 255

// endKey is one end's tags.
type endKey struct {
	name, process, container, namespace, workload, service, node, zone uint32
	kind                                                               correlate.Kind
}

// ids are the interned strings of a key.
func (k *endKey) ids() [8]uint32 {
	return [...]uint32{k.name, k.process, k.container, k.namespace, k.workload, k.service, k.node, k.zone}
}

// edgeKey is the tag set of an edge: equal keys are equal tag sets. It holds no
// pointer.
type edgeKey struct {
	end         [2]endKey
	port        uint32
	proto       flows.Proto
	reporter    correlate.Reporter
	attribution correlate.Attribution
	crosses     crossing
}

// endNames is an endKey whose strings need not be interned.
type endNames struct {
	name, process, container, namespace, workload, service, node, zone string
	kind                                                               correlate.Kind
}

// edgeNames is an edgeKey whose strings need not be interned.
type edgeNames struct {
	end         [2]endNames
	port        uint32
	proto       flows.Proto
	reporter    correlate.Reporter
	attribution correlate.Attribution
	crosses     crossing
}

// namesOf returns the finest identity of a record.
func namesOf(r *correlate.Record, port uint32) edgeNames {
	return edgeNames{
		end:  [2]endNames{endNamesOf(&r.Client), endNamesOf(&r.Server)},
		port: port, proto: normal(r.Proto), reporter: r.Reporter, attribution: r.Attribution, crosses: crossingOf(r),
	}
}

// normal makes what has one name one protocol.
func normal(p flows.Proto) flows.Proto {
	if p == flows.ICMPv6 {
		return flows.ICMP
	}
	return p
}

func endNamesOf(e *correlate.Endpoint) endNames {
	n := endNames{name: e.DisplayName(), service: e.Service, node: e.Node, zone: e.Zone, kind: e.Kind}
	if e.Process != nil {
		n.process = e.Process.Name
	}
	if e.Contain != nil {
		n.container = e.Contain.Name
		n.namespace, n.workload = e.Contain.Pod.Namespace, e.Contain.Pod.Controller
	}
	return n
}

// coarsen takes the names of one level to the next one.
func (n *edgeNames) coarsen(to level, r *correlate.Record) {
	switch to {
	case levelContainer:
		n.end[0].process, n.end[1].process = "", ""
	case levelWorkload:
		n.end[0].fold(&r.Client)
		n.end[1].fold(&r.Server)
	case levelOther:
		n.end[0].other()
		n.end[1].other()
	case levelLast:
		if n.port != 0 {
			n.port = portOther
		}
		n.crosses = crossingUnknown
		if s := n.proto.String(); s[0] >= '0' && s[0] <= '9' {
			n.proto = protoOther
		}
	}
}

func (n *endNames) fold(e *correlate.Endpoint) {
	n.container = "" // namespace and workload stay: they say what the name says
	if e.Contain != nil {
		n.name = correlate.WorkloadName(e)
	}
}

// plain takes off what multiplies an edge: under pressure it is one, on whatever hosts
// its ends are and under whatever name the server was asked for. Zones are few, and what
// goes between them is billed: they stay as long as the end's name.
func (n *edgeNames) plain() {
	for i := range n.end {
		n.end[i].service, n.end[i].node = "", ""
	}
}

func (n *endNames) other() { *n = endNames{name: Other, kind: correlate.KindOther} }

// hash identifies a tag set whose strings are not interned.
func (n *edgeNames) hash() uint64 {
	var d xxhash.Digest
	d.Reset()
	for i := range n.end {
		e := &n.end[i]
		for _, s := range [...]string{e.name, e.process, e.container, e.namespace, e.workload, e.service, e.node, e.zone} {
			_, _ = d.WriteString(s) // never fails
			_, _ = d.WriteString("\x00")
		}
	}
	var b [10]byte
	binary.LittleEndian.PutUint32(b[:], n.port)
	b[4], b[5], b[6] = byte(n.proto), byte(n.reporter), byte(n.attribution)
	b[7], b[8], b[9] = byte(n.end[0].kind), byte(n.end[1].kind), byte(n.crosses)
	_, _ = d.Write(b[:])
	return d.Sum64()
}

// lookup returns the key of names; it matches no series when one of the strings
// is in none.
func (in *interner) key(n *edgeNames) edgeKey {
	k := edgeKey{port: n.port, proto: n.proto, reporter: n.reporter, attribution: n.attribution, crosses: n.crosses}
	for i := range n.end {
		e := &n.end[i]
		k.end[i] = endKey{in.lookup(e.name), in.lookup(e.process), in.lookup(e.container), in.lookup(e.namespace), in.lookup(e.workload), in.lookup(e.service), in.lookup(e.node), in.lookup(e.zone), e.kind}
	}
	return k
}

// acquireKey is key for a new series: its strings are kept until releaseKey.
func (in *interner) acquireKey(n *edgeNames) edgeKey {
	k := edgeKey{port: n.port, proto: n.proto, reporter: n.reporter, attribution: n.attribution, crosses: n.crosses}
	for i := range n.end {
		e := &n.end[i]
		k.end[i] = endKey{in.acquire(e.name), in.acquire(e.process), in.acquire(e.container), in.acquire(e.namespace), in.acquire(e.workload), in.acquire(e.service), in.acquire(e.node), in.acquire(e.zone), e.kind}
	}
	return k
}

func (in *interner) releaseKey(k *edgeKey) {
	for i := range k.end {
		for _, id := range k.end[i].ids() {
			in.release(id)
		}
	}
}
