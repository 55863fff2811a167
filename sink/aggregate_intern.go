package sink

import "github.com/weir-probe/weir/sink/lineproto"

// unknownID stands for a string that is not interned: no key in use contains it.
const unknownID = ^uint32(0)

// interner gives the tag values in use small numbers, so that a series key
// holds no pointer. Values are kept as they are written (cleaned), so that two
// names that look alike in the database are one series. Id 0 is "".
type interner struct {
	ids    map[string]uint32
	names  []string
	refs   []uint32
	unused []uint32
	// cleaned counts values that had to be changed to be written.
	cleaned uint64
}

func newInterner() *interner {
	return &interner{ids: map[string]uint32{}, names: []string{""}, refs: []uint32{1}}
}

// lookup returns the id of s, or unknownID.
func (in *interner) lookup(s string) uint32 {
	if s == "" {
		return 0
	}
	if id, ok := in.ids[s]; ok {
		return id
	}
	if c := lineproto.CleanTag(s); c != s {
		return in.lookup(c)
	}
	return unknownID
}

// acquire returns the id of s and keeps it until release.
func (in *interner) acquire(s string) uint32 {
	if c := lineproto.CleanTag(s); c != s {
		in.cleaned++
		s = c
	}
	id := in.lookup(s)
	if id == unknownID {
		if n := len(in.unused); n > 0 {
			id = in.unused[n-1]
			in.unused = in.unused[:n-1]
			in.names[id] = s
		} else {
			id = uint32(len(in.names))
			in.names = append(in.names, s)
			in.refs = append(in.refs, 0)
		}
		in.ids[s] = id
	}
	in.refs[id]++
	return id
}

func (in *interner) release(id uint32) {
	if in.refs[id]--; in.refs[id] == 0 {
		delete(in.ids, in.names[id])
		in.names[id] = ""
		in.unused = append(in.unused, id)
	}
}
