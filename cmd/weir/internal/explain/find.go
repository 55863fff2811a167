package explain

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"strconv"

	"github.com/weir-probe/weir/sink"
)

// Lines calls fn for each line of line protocol there is, in any order; the line
// is valid during the call.
type Lines func(fn func(line []byte) error) error

// Connection is what the log holds of one connection: heartbeats while it lived,
// and its end.
type Connection struct {
	Rows []*Row // oldest first, at least one
}

// Last is the row that knows most.
func (c *Connection) Last() *Row { return c.Rows[len(c.Rows)-1] }

// Found is what a search came upon.
type Found struct {
	Connections []*Connection // newest first
	More        bool          // than the limit
	Rows        int           // of flow_log that were looked at
	Malformed   int           // lines that could not be read
	// Oldest and Newest are the times of the rows looked at, unix ns, 0 for none.
	Oldest, Newest int64
}

// Find returns the newest connections that s selects, at most limit.
func Find(lines Lines, s *Selector, limit int) (*Found, error) {
	if s.To != 0 && s.To < s.From {
		return nil, errWindow
	}
	f := &Found{}
	kept := &newest{}
	// A connection has several rows: its heartbeats.
	rows := 8 * limit
	err := lines(func(line []byte) error {
		if !bytes.HasPrefix(line, logPrefix) {
			return nil
		}
		at, ok := timeOf(line)
		if !ok {
			f.Malformed++
			return nil
		}
		f.saw(at)
		if at < s.From || len(*kept) == rows && at <= (*kept)[0].Time || !s.maybe(line) {
			f.More = f.More || len(*kept) == rows
			return nil
		}
		r, err := ParseRow(line)
		if err != nil {
			f.Malformed++
			return nil
		}
		if !s.Match(r) {
			return nil
		}
		heap.Push(kept, r)
		if len(*kept) > rows {
			heap.Pop(kept)
			f.More = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.Connections = connections(*kept)
	if len(f.Connections) > limit {
		f.Connections, f.More = f.Connections[:limit], true
	}
	return f, nil
}

func (f *Found) saw(at int64) {
	if f.Rows++; f.Rows == 1 {
		f.Oldest, f.Newest = at, at
	}
	f.Oldest, f.Newest = min(f.Oldest, at), max(f.Newest, at)
}

// timeOf reads the time at the end of a line.
func timeOf(line []byte) (int64, bool) {
	line = bytes.TrimRight(line, "\r\n")
	n, err := strconv.ParseInt(string(line[bytes.LastIndexByte(line, ' ')+1:]), 10, 64)
	return n, err == nil
}

// newest is a heap, oldest row first.
type newest []*Row

func (n newest) Len() int           { return len(n) }
func (n newest) Less(i, j int) bool { return n[i].Time < n[j].Time }
func (n newest) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *newest) Push(x any)        { *n = append(*n, x.(*Row)) }
func (n *newest) Pop() any {
	old := *n
	r := old[len(old)-1]
	*n = old[:len(old)-1]
	return r
}

// identity tells connections apart; the same sockets may have several, one after
// the other.
type identity struct {
	host, proto string
	addr        [2]string
	port        [2]int64
	cookie      [2]int64
	netns       [2]int64
}

func (r *Row) identity() identity {
	id := identity{host: r.Tags[sink.TagHost], proto: r.Tags[sink.TagProto]}
	for end := range id.addr {
		id.addr[end], id.port[end] = r.Text(sink.LogAddress[end]), r.Int(sink.LogPort[end])
		id.cookie[end], id.netns[end] = r.Int(sink.LogCookie[end]), r.Int(sink.LogNetNS[end])
	}
	return id
}

// connections puts the rows of each connection together, the newest first.
func connections(rows []*Row) []*Connection {
	slices.SortStableFunc(rows, func(a, b *Row) int { return cmp.Compare(a.Time, b.Time) })
	var all []*Connection
	last := map[identity]*Connection{}
	for _, r := range rows {
		id := r.identity()
		c := last[id]
		switch {
		case c != nil && !c.Last().open() && c.Last().start() == r.start():
			continue // delivered twice, or told by the running probe as well
		case c != nil && c.Last().open() && r.start() <= c.Last().Time:
			c.Rows = append(c.Rows, r)
			continue
		}
		c = &Connection{Rows: []*Row{r}}
		last[id] = c
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b *Connection) int { return cmp.Compare(b.Last().Time, a.Last().Time) })
	return all
}

func (r *Row) hasRivals() bool { return slices.ContainsFunc(sink.LogRivals[:], r.Has) }

// Rivals returns, where the joiner counted any, the other connections of the log that had c's tuple about the
// time c lived: newest first, at most limit.
func Rivals(lines Lines, c *Connection, limit int) ([]*Connection, error) {
	const about = 10e9 // the joiner keeps a closed connection for seconds
	r := c.Last()
	if !r.hasRivals() {
		return nil, nil
	}
	s := Selector{From: r.start() - about, To: r.Time + about}
	for end := range 2 {
		own, _ := r.addr(end)
		if !own.IsValid() {
			return nil, nil
		}
		s.terms = append(s.terms, term{addr: own.Addr(), port: int(own.Port())})
	}
	f, err := Find(lines, &s, limit+1)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(f.Connections, func(o *Connection) bool {
		return o.Last().identity() == r.identity() && o.Last().start() == r.start() ||
			o.Last().Tags[sink.TagProto] != r.Tags[sink.TagProto]
	})
	return others[:min(len(others), limit)], nil
}
