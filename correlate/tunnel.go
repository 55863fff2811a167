package correlate

import "github.com/weir-probe/weir/flows"

// Tunnel is a tunnel that ends at a device of this host. The device shows the
// flows inside, with their owners; what is around them repeats their octets.
type Tunnel struct {
	Kind  string // of the device: vxlan, geneve, wireguard, gre, …; the end's name
	Proto flows.Proto
	Port  uint16 // one end's UDP port, 0 for a protocol without ports
}

// SetTunnels replaces the tunnels of this host; the slice is kept, not changed.
func (j *Joiner) SetTunnels(ts []Tunnel) { j.tunnels = ts }

// fillTunnel marks the outer flow of a tunnel: an end that is this host itself and
// no process's, on the tunnel's protocol and port.
func (j *Joiner) fillTunnel(r *Record) {
	for _, t := range j.tunnels {
		if r.Proto != t.Proto {
			continue
		}
		for _, e := range [...]*Endpoint{&r.Client, &r.Server} {
			if e.Kind != KindHost || e.Process != nil || (r.Server.Port != t.Port && e.Port != t.Port) {
				continue
			}
			e.Kind, e.Name, e.Match = KindTunnel, t.Kind, Match{MethodAddress, AttributionExact}
			r.Server.Listened = true
		}
	}
}

// Tunnel says whether the record is the outside of a tunnel: its octets are those
// of other records, and headers.
func (r *Record) Tunnel() bool { return r.Client.Kind == KindTunnel || r.Server.Kind == KindTunnel }
