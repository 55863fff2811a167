package correlate

import (
	"errors"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Config bounds the join. The zero value means the defaults.
type Config struct {
	// Hold is how long a flow without a socket waits for one before it is
	// reported unattributed (default 2 s).
	Hold time.Duration `yaml:"hold"`
	// Grace is how long a closed connection is kept for packets that come after
	// its end: FINs, TIME_WAIT, late duplicates (default 5 s).
	Grace time.Duration `yaml:"grace"`
	// Idle ends a flow without a TCP socket after this silence (default 60 s).
	Idle time.Duration `yaml:"idle"`
	// MaxConnections bounds the table (default 262 144); beyond it new ones are
	// merged into one record per protocol with kind `other`, and counted.
	MaxConnections int `yaml:"max_connections"`
	// HostNetNS is the inode of the network namespace whose devices are metered:
	// loopback flows seen there belong to sockets there. 0 in a replay.
	HostNetNS uint32 `yaml:"-"`
	// LateNAT is how long a closed connection with a remote end waits for its
	// translation where that may be told after the end: by conntrack's events. 0
	// where packets tell it, in the order of things.
	LateNAT time.Duration `yaml:"-"`
	// Waited says how long, in ns, a connection that began at a time (unix ns) had
	// waited for the DNS answer that named the address it connected to; 0: it had
	// not. Asked once per connection. nil: nobody knows.
	Waited func(a flows.Addr, netns uint32, began int64) int64 `yaml:"-"`
	// Service says which Kubernetes service the address was that a connection began to,
	// likewise; "": none. nil: nobody knows.
	Service func(a flows.Addr, netns uint32, began int64) string `yaml:"-"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Hold: 2 * time.Second, Grace: 5 * time.Second, Idle: 60 * time.Second, MaxConnections: 1 << 18}
}

// Validate checks ranges.
func (c Config) Validate() error {
	if c.Hold < 0 || c.Grace < 0 || c.Idle < 0 || c.MaxConnections < 0 {
		return errors.New("join: hold, grace, idle and max_connections must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Hold == 0 {
		c.Hold = d.Hold
	}
	if c.Grace == 0 {
		c.Grace = d.Grace
	}
	if c.Idle == 0 {
		c.Idle = d.Idle
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = d.MaxConnections
	}
	return c
}

// Enricher says who is behind an end. It sets Process, Creator, Contain, Kind,
// Name and Local, the control group in Evidence (and Match when it knows an end without a socket by its
// address) from local caches: O(1), no I/O. owner and creator are nil for an
// end without a socket. pending means that more will be known soon: the joiner
// asks again at the next tick.
type Enricher interface {
	Enrich(e *Endpoint, owner, creator *kprobes.Owner, now int64) (pending bool)
}

// Stats counts what the join did; totals since the start.
type Stats struct {
	Sockets, Peers, Flows, NATs uint64 // events taken
	Connections                 int    // in the table now
	ByCookie, ByTuple, ByNAT    uint64 // flows matched to a socket, by method
	Unmatched                   uint64 // flows reported without a socket after the hold time
	Adopted                     uint64 // flows whose socket came after them
	Paired                      uint64 // connections with both ends here
	Ambiguous                   uint64 // flows with several possible owners when they came: without one unless that changed
	Buried                      uint64 // sockets whose close event was lost, found out by reuse of their tuple
	Overflow                    uint64 // flows and sockets merged into `other` because the table was full
	NATOverflow                 uint64 // translations not remembered because the table was full
	Late                        uint64 // flows of packets that came after their connection was forgotten
	Evicted                     uint64 // forgotten connections of which no more could be remembered for late packets
	Records                     uint64
	// Payload octets with a local socket, those of them whose owner is known, and
	// those seen on packets only.
	LocalOctets, AttributedOctets, PacketOnlyOctets uint64
	// WireOctets are those of the packets of all records, RepeatedOctets those of
	// the same packets under another tuple of their connection (NAT): together all
	// that flows brought, but for what still waits for its socket.
	WireOctets, RepeatedOctets uint64
}
