package anomaly

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// Type is what kind of anomaly it is; its String is the tag `type` of event.
type Type uint8

const (
	NewEdge         Type = iota // a service talks to another one for the first time
	NewDestination              // … to something elsewhere
	NewService                  // a container or pod of a name that was never seen
	PortScan                    // many ports of one host tried
	HostScan                    // many hosts tried
	Volume                      // traffic or connections out of range
	Exfiltration                // what goes out grew, what comes in did not
	Beacon                      // small connections at regular times, to something new elsewhere
	Failures                    // connections or requests fail as they do not usually
	Retransmits                 // segments are sent again as they are not usually
	Latency                     // slower than usual
	Quiet                       // an edge that was always busy is not
	DNSTunnel                   // many long names of one domain asked for
	AttributionLoss             // traffic without an owner, more than usual
	numTypes
)

var typeNames = [numTypes]string{
	"new_edge", "new_destination", "new_service", "port_scan", "host_scan", "volume", "exfiltration", "beacon",
	"failures", "retransmits", "latency", "quiet", "dns_tunnel", "attribution_loss",
}

// String returns the name used in rows and in the configuration.
func (t Type) String() string { return typeNames[t] }

// typeNamed is the reverse of String.
func typeNamed(name string) (Type, bool) {
	for i, n := range typeNames {
		if n == name {
			return Type(i), true
		}
	}
	return 0, false
}

// Types returns every type.
func Types() []Type {
	all := make([]Type, numTypes)
	for i := range all {
		all[i] = Type(i)
	}
	return all
}

// State says whether an anomaly goes on.
type State uint8

const (
	Active State = iota
	Resolved
)

// String returns the field value.
func (s State) String() string { return [...]string{"active", "resolved"}[s] }

// Party is one end of an anomaly; its zero value is nobody.
type Party struct {
	Kind      correlate.Kind
	Name      string // display name, of a network elsewhere its prefix
	Address   string // of who has no name of its own: anybody outside who scans, a host that is scanned
	Container string
	PID       uint32
	Process   string
	User      string
	Cmdline   string // redacted by whoever read it, control characters escaped
}

// Anomaly is one thing out of the usual, when it begins and when it ends.
type Anomaly struct {
	Type  Type
	State State
	// Since is when it began, Time when this was found; unix ns.
	Since, Time    int64
	Client, Server Party
	Port           uint16 // of the server, 0: none or not fixed
	Proto          flows.Proto
	// Expected and Seen are in the unit of the type; Score is how far apart they are:
	// in widths of the usual spread where there is one, else in multiples of the
	// threshold.
	Expected, Seen, Score float64
	Message               string // what it is, in words
	Evidence              string // the figures behind it, key=value
	// Ongoing is how many anomalies of this type go on between ends of these names, after
	// this: what is 0 is over, whatever was missed before.
	Ongoing int
	// Fingerprint is the same for the same anomaly of the same ends, on every run.
	Fingerprint uint64
}

// ID is the fingerprint as rows have it.
func (a *Anomaly) ID() string {
	s := strconv.FormatUint(a.Fingerprint, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

// fingerprint identifies what is said about whom, not when nor how much.
func fingerprint(t Type, client, server *Party, port uint16, proto flows.Proto) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(t.String())
	for _, p := range [...]*Party{client, server} {
		_, _ = d.WriteString("\x00" + p.Kind.String() + "\x00" + p.Name + "\x00" + p.Address)
	}
	var b [3]byte
	binary.LittleEndian.PutUint16(b[:], port)
	b[2] = byte(proto)
	_, _ = d.Write(b[:])
	return d.Sum64()
}

// maxCmdline bounds a command line, octets.
const maxCmdline = 512

// escape makes a string of anybody's making fit for a line: control characters and
// invalid UTF-8 are written as Go writes them.
func escape(s string) string {
	if len(s) > maxCmdline {
		s = s[:maxCmdline] + "…"
	}
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`), `\\`, `\`)
}

// value makes a string of anybody's making the value of a key in Evidence: a space would
// end it.
func value(s string) string { return strings.ReplaceAll(escape(s), " ", `\x20`) }

// party describes an end as it was in a record.
func party(n *node, p *correlate.Process, container string) Party {
	if n == nil {
		return Party{}
	}
	out := Party{Kind: n.kind, Name: escape(n.name), Container: escape(container)}
	if p != nil {
		out.PID, out.Process, out.User, out.Cmdline = p.PID, escape(p.Name), escape(p.User), escape(p.Cmdline)
	}
	return out
}
