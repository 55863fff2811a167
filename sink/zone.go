package sink

import "github.com/weir-probe/weir/correlate"

// crossing says whether an edge leaves its client's zone. It has a tag of its own,
// because InfluxQL does not compare one tag with another, and is in the key beside
// the zones, because it outlives them where ends are folded.
type crossing uint8

const (
	crossingUnknown crossing = iota // the zone of an end is not known
	crossesNone                     // both ends are in one zone
	crossesZone
)

var crossingNames = [...]string{"", CrossesNone, CrossesZone}

// String returns the tag value; "" is no tag.
func (c crossing) String() string { return crossingNames[c] }

func crossingOf(r *correlate.Record) crossing {
	switch client, server := r.Client.Zone, r.Server.Zone; {
	case client == "" || server == "":
		return crossingUnknown
	case client == server:
		return crossesNone
	}
	return crossesZone
}
