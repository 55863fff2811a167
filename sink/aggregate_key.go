package sink

import (
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// protoOther stands for protocols without a name at levelLast (255 is reserved
// by IANA).
const protoOther flows.Proto = 255

// endKey is one end's tags.
type endKey struct {
	name, process, container, namespace, workload uint32
	kind                                          correlate.Kind
}

// ids are the interned strings of a key.
func (k *endKey) ids() [5]uint32 {
	return [...]uint32{k.name, k.process, k.container, k.namespace, k.workload}
}

// edgeKey is the tag set of an edge: equal keys are equal tag sets. It holds no
// pointer.
type edgeKey struct {
	end         [2]endKey
	port        uint32
	proto       flows.Proto
	reporter    correlate.Reporter
	attribution correlate.Attribution
}

// endNames is an endKey whose strings need not be interned.
type endNames struct {
	name, process, container, namespace, workload string
	kind                                          correlate.Kind
}

// edgeNames is an edgeKey whose strings need not be interned.
type edgeNames struct {
	end         [2]endNames
	port        uint32
	proto       flows.Proto
	reporter    correlate.Reporter
	attribution correlate.Attribution
}

// namesOf returns the finest identity of a record.
func namesOf(r *correlate.Record, port uint32) edgeNames {
	return edgeNames{
		end:  [2]endNames{endNamesOf(&r.Client), endNamesOf(&r.Server)},
		port: port, proto: normal(r.Proto), reporter: r.Reporter, attribution: r.Attribution,
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
	n := endNames{name: displayName(e), kind: e.Kind}
	if e.Process != nil {
		n.process = e.Process.Name
	}
	if e.Contain != nil {
		n.container = e.Contain.Name
		n.namespace, n.workload = e.Contain.Pod.Namespace, e.Contain.Pod.Controller
	}
	return n
}

// displayName is the tag `client` or `server`: it is never empty, so that a
// query that groups by it loses no row.
func displayName(e *correlate.Endpoint) string {
	if e.Name != "" {
		return e.Name
	}
	return e.Kind.String()
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
		if s := n.proto.String(); s[0] >= '0' && s[0] <= '9' {
			n.proto = protoOther
		}
	}
}

func (n *endNames) fold(e *correlate.Endpoint) {
	n.container = "" // namespace and workload stay: they say what the name says
	if e.Contain != nil {
		n.name = workloadName(e)
	}
}

func (n *endNames) other() { *n = endNames{name: Other, kind: correlate.KindOther} }

// workloadName is what a container is one instance of: its pod's workload, its
// Compose service; else, for a name that Docker made up (happy_turing), its image; else its name
// without the random or counting suffix that whoever started it has added.
func workloadName(e *correlate.Endpoint) string {
	c := e.Contain
	if c.Pod.UID != "" || c.Project != "" && c.Service != "" {
		return displayName(e)
	}
	name := displayName(e)
	if generated(name) && c.Image != "" {
		return imageName(c.Image)
	}
	return stemOf(name)
}

// stemOf cuts trailing parts that hold a digit and look like an id or a
// counter: "job-7", "api-5d4f9c-x2x9q", "ci_runner.3".
func stemOf(name string) string {
	for {
		i := strings.LastIndexAny(name, "-_.")
		if i <= 0 || !instancePart(name[i+1:]) {
			return name
		}
		name = name[:i]
	}
}

// instancePart says whether a part is all hex digits or a mix of letters and
// digits: "v2" is a version somebody chose, and stays.
func instancePart(s string) bool {
	digits, hex := 0, true
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f':
		case c >= 'g' && c <= 'z':
			hex = false
		default:
			return false
		}
	}
	return digits == len(s) && digits > 0 || digits > 0 && len(s) >= 5 || hex && len(s) >= 8
}

// generated says whether a name has the form adjective_surname Docker gives.
func generated(name string) bool {
	left, right, ok := strings.Cut(name, "_")
	return ok && left != "" && right != "" && lowercase(left) && lowercase(strings.TrimRight(right, "0123456789"))
}

func lowercase(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return true
}

// imageName is the last part of an image reference without tag and digest.
func imageName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	ref = ref[strings.LastIndexByte(ref, '/')+1:]
	name, _, _ := strings.Cut(ref, ":")
	return name
}

// hash identifies a tag set whose strings are not interned.
func (n *edgeNames) hash() uint64 {
	var d xxhash.Digest
	d.Reset()
	for i := range n.end {
		e := &n.end[i]
		for _, s := range [...]string{e.name, e.process, e.container, e.namespace, e.workload} {
			_, _ = d.WriteString(s) // never fails
			_, _ = d.WriteString("\x00")
		}
	}
	var b [10]byte
	binary.LittleEndian.PutUint32(b[:], n.port)
	b[4], b[5], b[6] = byte(n.proto), byte(n.reporter), byte(n.attribution)
	b[7], b[8] = byte(n.end[0].kind), byte(n.end[1].kind)
	_, _ = d.Write(b[:])
	return d.Sum64()
}

// lookup returns the key of names; it matches no series when one of the strings
// is in none.
func (in *interner) key(n *edgeNames) edgeKey {
	k := edgeKey{port: n.port, proto: n.proto, reporter: n.reporter, attribution: n.attribution}
	for i := range n.end {
		e := &n.end[i]
		k.end[i] = endKey{in.lookup(e.name), in.lookup(e.process), in.lookup(e.container), in.lookup(e.namespace), in.lookup(e.workload), e.kind}
	}
	return k
}

// acquireKey is key for a new series: its strings are kept until releaseKey.
func (in *interner) acquireKey(n *edgeNames) edgeKey {
	k := edgeKey{port: n.port, proto: n.proto, reporter: n.reporter, attribution: n.attribution}
	for i := range n.end {
		e := &n.end[i]
		k.end[i] = endKey{in.acquire(e.name), in.acquire(e.process), in.acquire(e.container), in.acquire(e.namespace), in.acquire(e.workload), e.kind}
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
