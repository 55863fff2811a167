package ranges

import (
	"fmt"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// maxAnswers bounds the cache of answers; it is emptied when it is full.
const maxAnswers = 16384

type geo struct {
	dbs     []*maxminddb.Reader
	answers map[flows.Addr]correlate.Geo
	errors  uint64
	rec     record
}

// record is what is read of an entry, of whichever kind of database.
type record struct {
	ASN     uint32 `maxminddb:"autonomous_system_number"`
	Org     string `maxminddb:"autonomous_system_organization"`
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Registered struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"registered_country"`
}

func (g *geo) open(paths []string) error {
	for _, path := range paths {
		db, err := maxminddb.Open(path)
		if err != nil {
			return fmt.Errorf("geoip %s: %w (want a MaxMind database, .mmdb)", path, err)
		}
		g.dbs = append(g.dbs, db)
	}
	g.answers = map[flows.Addr]correlate.Geo{}
	return nil
}

func (g *geo) close() {
	for _, db := range g.dbs {
		_ = db.Close() // read only: nothing is lost
	}
	g.dbs = nil
}

// Geo returns what the databases say of an address.
func (t *Table) Geo(a flows.Addr) correlate.Geo {
	g := &t.geo
	if len(g.dbs) == 0 {
		return correlate.Geo{}
	}
	if answer, ok := g.answers[a]; ok {
		return answer
	}
	g.rec = record{}
	for _, db := range g.dbs {
		if err := db.Lookup(a.Netip()).Decode(&g.rec); err != nil {
			g.errors++
		}
	}
	answer := correlate.Geo{ASN: g.rec.ASN, Org: g.rec.Org, Country: g.rec.Country.Code}
	if answer.Country == "" {
		answer.Country = g.rec.Registered.Code
	}
	if len(g.answers) >= maxAnswers {
		clear(g.answers)
	}
	g.answers[a] = answer
	return answer
}
