package open

import "github.com/weir-probe/weir/flows/l7"

// NameOctets is what an interned operation costs at most, with its place in a map.
const NameOctets = l7.MaxOperation + 64

// Names are strings that a connection has told, each of them kept once. The zero value
// is empty.
type Names map[string]string

// Intern returns b as a string that is kept, unless most are kept already and it is
// none of them.
func (n *Names) Intern(b []byte, most int) (string, bool) {
	if s, ok := (*n)[string(b)]; ok {
		return s, true
	}
	if len(*n) >= most {
		return "", false
	}
	if *n == nil {
		*n = Names{}
	}
	s := string(b)
	(*n)[s] = s
	return s, true
}

// Octets is what they cost at most.
func (n Names) Octets() int { return len(n) * NameOctets }
