package requests

// list orders streams by their last activity. A stream may be in each list once.
type list struct {
	kind           listKind
	newest, oldest *stream
	n              int
}

type listKind uint8

const (
	everyStream listKind = iota
	followed             // whose conversation goes on
	listKinds
)

type links struct {
	newer, older *stream
	in           bool
}

// touch makes s the newest, in the list or not before.
func (l *list) touch(s *stream) {
	l.remove(s)
	k := &s.links[l.kind]
	k.in, k.older = true, l.newest
	if k.older != nil {
		k.older.links[l.kind].newer = s
	} else {
		l.oldest = s
	}
	l.newest = s
	l.n++
}

func (l *list) remove(s *stream) {
	k := &s.links[l.kind]
	if !k.in {
		return
	}
	if k.newer != nil {
		k.newer.links[l.kind].older = k.older
	} else {
		l.newest = k.older
	}
	if k.older != nil {
		k.older.links[l.kind].newer = k.newer
	} else {
		l.oldest = k.newer
	}
	*k = links{}
	l.n--
}
