package ranges

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/gaissmai/bart"

	"github.com/weir-probe/weir/flows"
)

// Limits of what is read: the largest published list (Azure) has some 100 000
// prefixes in 4 MB.
const (
	maxFile     = 64 << 20
	maxPrefixes = 1 << 20
	maxName     = 128 // octets
)

// Config says what is read.
type Config struct {
	// Files are lists of networks: AWS ip-ranges.json, Google cloud.json or
	// goog.json, Azure ServiceTags_*.json, or lines of "CIDR name".
	Files []string
	// GeoIP are MaxMind databases: GeoLite2-ASN, GeoLite2-Country, GeoIP2-…
	GeoIP []string
}

// Table answers by the longest prefix that holds an address. It is not changed
// after New; not safe for concurrent use, because of the cache of GeoIP.
type Table struct {
	networks bart.Table[string]
	prefixes int
	geo      geo
}

// Stats counts what is there and what was asked.
type Stats struct {
	Prefixes  int    // networks with a name
	Databases int    // of GeoIP
	GeoErrors uint64 // answers of a database that could not be read
}

// New reads all files; an error names the file and what is wrong with it.
func New(cfg Config) (*Table, error) {
	t := &Table{}
	names := map[string]string{} // one copy of each
	for _, path := range cfg.Files {
		err := t.read(path, func(p netip.Prefix, name string) error {
			if len(name) > maxName {
				return fmt.Errorf("the name of %s has %d octets, more than %d", p, len(name), maxName)
			}
			if t.prefixes++; t.prefixes > maxPrefixes {
				return fmt.Errorf("more than %d networks in all files", maxPrefixes)
			}
			if _, ok := names[name]; !ok {
				names[name] = name
			}
			t.networks.Insert(unmapped(p), names[name])
			return nil
		})
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("ranges %s: %w", path, err)
		}
	}
	if err := t.geo.open(cfg.GeoIP); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// unmapped is what the table wants: an IPv4 network in its own form.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}

func (t *Table) read(path string, add func(netip.Prefix, string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return err
	} else if st.Size() > maxFile {
		return fmt.Errorf("%d octets, more than %d: not a list of networks", st.Size(), maxFile)
	}
	before := t.prefixes
	if err := parse(f, add); err != nil {
		return err
	}
	if t.prefixes == before {
		return fmt.Errorf("no network in it: want AWS, Google or Azure JSON, or lines like \"192.0.2.0/24 name\"")
	}
	return nil
}

// Name returns what the network of an address is called.
func (t *Table) Name(a flows.Addr) (string, bool) { return t.networks.Lookup(a.Netip()) }

// Stats returns the counters.
func (t *Table) Stats() Stats {
	return Stats{Prefixes: t.prefixes, Databases: len(t.geo.dbs), GeoErrors: t.geo.errors}
}

// Close lets go of the databases; the Table is not used again.
func (t *Table) Close() { t.geo.close() }
