package correlate

// Geo is what databases say of an address elsewhere; zero where they say nothing.
type Geo struct {
	ASN     uint32 // number of the autonomous system
	Org     string // and its organization
	Country string // ISO 3166-1 alpha-2
}
