package dns

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Config bounds the table. Zero fields mean the defaults.
type Config struct {
	// MaxAnswers is how many addresses have names (default 65 536), MaxNames how many
	// different names are given to ends as their display name (default 1000): a
	// crawler's thousands of sites make no series.
	MaxAnswers, MaxNames int
	// Stale is how much longer than its time to live an answer names an address that
	// nothing newer is known of (default 1 h): programs keep what they were told.
	Stale time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxAnswers == 0 {
		c.MaxAnswers = 65536
	}
	if c.MaxNames == 0 {
		c.MaxNames = 1000
	}
	if c.Stale == 0 {
		c.Stale = time.Hour
	}
	return c
}

const (
	maxAsked   = 8192                    // questions open at a time
	patience   = int64(10 * time.Second) // an answer that comes later is nobody's
	maxPerAddr = 4                       // changes of what one address is called: the newest
	headerSize = 12                      // RFC 1035 section 4.1.1
)

// Stats counts since the Table was made.
type Stats struct {
	Names     int    // display names in use
	Addresses int    // with a name
	Answers   uint64 // taken
	Unasked   uint64 // datagrams that look like an answer nobody here waited for: ignored
	Malformed uint64 // answers to a question that could not be read to their end
	Evicted   uint64 // answers, questions and waits that went before their time, for want of room
	Refused   uint64 // ends that keep the name `external` because MaxNames are in use
}

// Table is owned by one goroutine.
type Table struct {
	cfg   Config
	asked generation[question, asked]
	names generation[place, named]
	waits waits
	shown map[string]int64 // display names, and when last used
	last  string           // the name last learnt
	stats Stats

	reader reader
	seed   maphash.Seed
	event  kprobes.PayloadEvent // scratch of Packet
}

// question identifies an open question: the socket and the id it gave it.
type question struct {
	cookie uint64
	id     uint16
}

type asked struct {
	name [32]byte // the beginning of the question section: the answer repeats it
	at   int64
}

// place is an address as it is known in one network namespace.
type place struct {
	addr  flows.Addr
	netns uint32
}

// named is what an address was called lately, newest first.
type named [maxPerAddr]called

// called is a name that answer after answer gave, each while the one before held.
type called struct {
	name    string // "" none
	since   int64  // unix ns, of the first of them
	expires int64  // end of their time to live
}

// learn takes an answer that came at a time. What falls out lives on in the oldest that
// stays: an address that had a name has one, though it may be another one of its names.
func (n *named) learn(name string, at, expires, stale int64) {
	if n[0].name == name && at <= n[0].expires+stale {
		n[0].expires = max(n[0].expires, expires)
		return
	}
	gone := n[maxPerAddr-1]
	copy(n[1:], n[:])
	n[0] = called{name, at, expires}
	if oldest := &n[maxPerAddr-1]; gone.name != "" && oldest.since <= gone.expires+stale {
		oldest.since = gone.since
	}
}

// New returns an empty Table.
func New(cfg Config) *Table {
	cfg = cfg.withDefaults()
	return &Table{
		cfg:   cfg,
		asked: generation[question, asked]{cap: maxAsked},
		names: generation[place, named]{cap: cfg.MaxAnswers},
		shown: map[string]int64{},
		seed:  maphash.MakeSeed(),
	}
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Names, s.Addresses = len(t.shown), t.names.len()
	s.Evicted = t.asked.evicted + t.names.evicted + t.waits.missed
	return s
}

// Payload takes a datagram of a socket here, or the beginning of a turn of a
// connection. What is no DNS message costs a look at its header; an answer counts
// only where its socket has asked: anybody can send datagrams that look like one.
func (t *Table) Payload(e *kprobes.PayloadEvent) {
	b := message(e)
	if len(b) < headerSize+5 {
		return
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&0x7800 != 0 || binary.BigEndian.Uint16(b[4:]) != 1 { // OPCODE QUERY, one question
		return
	}
	k := question{e.Cookie, binary.BigEndian.Uint16(b)}
	name := section(b[headerSize:])
	q, open := t.asked.get(k)
	open = open && q.name == name && e.Time-q.at <= patience
	switch isAnswer := flags&0x8000 != 0; {
	case e.Out && !isAnswer:
		if !open { // else it is sent again, and the wait goes on
			t.asked.put(k, asked{name, e.Time})
		}
	case !e.Out && isAnswer:
		if !open {
			if e.Key.Proto == flows.UDP { // a stream says many things
				t.stats.Unasked++
			}
			return
		}
		t.asked.remove(k)
		t.learn(e, b, q.at)
	}
}

// Packet takes a packet of a capture; data is what was captured of its payload. No
// socket is known: the tuple stands for it, and who asks is its own side.
func (t *Table) Packet(p *flows.Packet, data []byte) {
	var flags byte
	switch {
	case p.Fragment == flows.FragmentLater:
		return
	case p.Key.Proto == flows.UDP && len(data) > 2:
		flags = data[2]
	case p.Key.Proto == flows.TCP && len(data) > 4:
		flags = data[4]
	default:
		return
	}
	key, _ := p.Key.Canonical()
	t.event = kprobes.PayloadEvent{
		Time: p.Time, Cookie: maphash.Comparable(t.seed, key), Key: p.Key,
		Out: flags&0x80 == 0, Turn: true, Data: data, Len: uint32(min(p.Payload, 1<<31)),
	}
	t.Payload(&t.event)
}

// message is what may be a DNS message: a datagram, or what follows its length at
// the beginning of a turn (RFC 7766), of which only what one segment has was copied.
func message(e *kprobes.PayloadEvent) []byte {
	switch b := e.Data; {
	case e.Plain:
		return nil
	case e.Key.Proto == flows.UDP:
		return b
	case e.Turn && len(b) > 2:
		n := int(binary.BigEndian.Uint16(b))
		if e.Out && 2+n != int(e.Len) { // a question comes alone
			return nil
		}
		return b[2:min(len(b), 2+n)]
	}
	return nil
}

// section is the beginning of a question section, which an answer repeats, but for
// the case of letters: a resolver may change it at random. Lengths of labels are
// below 'A'.
func section(b []byte) (s [32]byte) {
	copy(s[:], b)
	if i := bytes.IndexByte(s[:], 0); i >= 0 {
		clear(s[min(i+5, len(s)):]) // type and class, then what differs
	}
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			s[i] = c + 'a' - 'A'
		}
	}
	return s
}

func (t *Table) learn(e *kprobes.PayloadEvent, b []byte, askedAt int64) {
	t.stats.Answers++
	var first uint64
	err := t.reader.answers(b, func(name []byte, a netip.Addr, ttl uint32) {
		if !usable(name, a) {
			return
		}
		if t.last != string(name) {
			t.last = string(name)
		}
		k := place{flows.AddrFrom(a), e.Key.NetNS}
		n, _ := t.names.get(k)
		n.learn(t.last, e.Time, e.Time+int64(ttl)*int64(time.Second), int64(t.cfg.Stale))
		t.names.put(k, n)
		first = t.waits.add(offer{at: k, asked: askedAt, answered: e.Time, first: first})
	})
	if err != nil {
		t.stats.Malformed++
	}
}

// usable says whether a name may name an address: a host name (RFC 1123, and
// underscores), and an address that is somewhere else.
func usable(name []byte, a netip.Addr) bool {
	if len(name) == 0 || len(name) > 253 || !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// Name returns what an address was called in a namespace when a connection to it
// began (unix ns), "" when nobody there had asked.
func (t *Table) Name(a flows.Addr, netns uint32, began int64) string {
	n, ok := t.names.get(place{a, netns})
	if !ok {
		return ""
	}
	for i := range n {
		if r := &n[i]; r.name != "" && r.since <= began {
			if began > r.expires+int64(t.cfg.Stale) {
				return ""
			}
			return r.name
		}
	}
	return ""
}

// Show says whether a name may be an end's display name now, and notes its use.
func (t *Table) Show(name string, now int64) bool {
	if _, ok := t.shown[name]; !ok && len(t.shown) >= t.cfg.MaxNames {
		t.stats.Refused++
		return false
	}
	t.shown[name] = now
	return true
}

// Tick frees the display names that no connection has had for longer than idle. It
// is called once per interval, before connections of the interval ask.
func (t *Table) Tick(now int64, idle time.Duration) {
	for name, used := range t.shown {
		if now-used > int64(idle) {
			delete(t.shown, name)
		}
	}
	t.waits.asked = now
}

// Wait returns how long a connection that began at a time (unix ns) had waited for the
// answer that named its address, which counts for one connection: the first after it
// to any of its addresses, if those of an interval ask in the order they began.
func (t *Table) Wait(a flows.Addr, netns uint32, began int64) (time.Duration, bool) {
	o := t.waits.take(place{a, netns}, began)
	if o == nil {
		return 0, false
	}
	return time.Duration(o.answered - o.asked), true
}
