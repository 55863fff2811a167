package sink

// Fields of flow_log that say where an end elsewhere is, and how long the client
// had waited for the server's name.
var (
	LogDNSName = perEnd("dns_name")
	LogASN     = perEnd("asn")
	LogASOrg   = perEnd("as_org")
	LogCountry = perEnd("country")
)

// Resolve is the distribution of the wait for DNS before a connection.
var Resolve = distribution("resolve")

// StageNames names ends elsewhere: DNS answers, networks, databases.
const StageNames Stage = "names"

// Fields of weir_self, stage names.
const (
	SelfNames        SelfInt = "names"
	SelfAddresses    SelfInt = "addresses"
	SelfNetworks     SelfInt = "networks"
	SelfAnswers      SelfInt = "answers"
	SelfUnasked      SelfInt = "unasked"
	SelfRefusedNames SelfInt = "refused_names"
)

func logNameFields(end int) []Field {
	return []Field{
		label(LogDNSName[end], "of an end elsewhere: what DNS had called its address in the other end's network namespace before it connected"),
		number(LogASN[end], "of an end elsewhere: autonomous system, where a database tells"),
		label(LogASOrg[end], "its organization"),
		label(LogCountry[end], "of an end elsewhere: ISO 3166-1 code, where a database tells"),
	}
}

func selfNameFields() []Field {
	return []Field{
		selfInt(SelfNames, Count, Gauge, "names: display names by DNS in use"),
		selfInt(SelfAddresses, Count, Gauge, "names: addresses that DNS has named"),
		selfInt(SelfNetworks, Count, Gauge, "names: networks with a name, from files"),
		selfInt(SelfAnswers, Count, Delta, "names: DNS answers taken"),
		selfInt(SelfUnasked, Count, Delta, "names: datagrams like a DNS answer that nobody here waited for, ignored"),
		selfLoss(SelfRefusedNames, Count, "names: ends called external because names.max_names are in use"),
	}
}
