package ranges

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	awsList = `{"syncToken":"1","prefixes":[
 {"ip_prefix":"3.5.140.0/22","region":"ap-northeast-2","service":"S3","network_border_group":"ap-northeast-2"},
 {"ip_prefix":"3.5.140.0/22","region":"ap-northeast-2","service":"AMAZON"},
 {"ip_prefix":"3.0.0.0/8","region":"GLOBAL","service":"AMAZON"}],
 "ipv6_prefixes":[{"ipv6_prefix":"2600:1f00::/24","region":"us-east-1","service":"EC2"}]}`
	googleList = `{"prefixes":[{"ipv4Prefix":"34.1.208.0/20","service":"Google Cloud","scope":"africa-south1"},{"ipv6Prefix":"2600:1900:8000::/44","scope":"us-central1"},{"ipv4Prefix":"8.8.8.0/24"}]}`
	azureList  = `{"values":[{"name":"AzureCloud.westeurope","properties":{"addressPrefixes":["13.69.0.0/17"]}},
 {"name":"Storage.WestEurope","properties":{"addressPrefixes":["13.69.40.0/24"]}},{"name":"AzureCloud","properties":{"addressPrefixes":["13.64.0.0/11"]}}]}`
	ownList = "# ours\n192.0.2.0/24 office\n2001:db8::/32\tlab, upstairs  # with a comma\n\n192.0.2.53,resolver\n::ffff:198.51.100.0/120 mapped\n"
)

func TestNames(t *testing.T) {
	table, err := New(Config{Files: []string{
		file(t, "aws.json", awsList), file(t, "google.json", googleList), file(t, "azure.json", "\n "+azureList), file(t, "own", "\ufeff"+ownList),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for a, want := range map[string]string{
		"3.5.141.9": "aws/s3/ap-northeast-2", "3.200.0.1": "aws/amazon/global", "2600:1f12::1": "aws/ec2/us-east-1",
		"34.1.208.1": "gcp/africa-south1", "2600:1900:8000::1": "gcp/us-central1", "8.8.8.8": "google",
		"13.69.40.9": "azure/storage.westeurope", "13.69.1.1": "azure/westeurope", "13.65.0.1": "azure",
		"192.0.2.7": "office", "192.0.2.53": "resolver", "2001:db8::1": "lab, upstairs", "198.51.100.9": "mapped",
		"203.0.113.1": "", "::1": "",
	} {
		if got, ok := table.Name(addr(a)); got != want || ok != (want != "") {
			t.Errorf("%s is called %q, want %q", a, got, want)
		}
	}
	if n := table.Stats().Prefixes; n != 14 {
		t.Errorf("%d networks", n)
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                "no network in it",
		"# nothing\n":     "no network in it",
		`{"prefixes":[]}`: "no network in it",
		`{"prefixes":[{"ip_prefix":"3.5.0.0/99"}]}`: `"3.5.0.0/99" is not a network`,
		`{"prefixes":`:                             "not the JSON of a provider",
		"192.0.2.0/24":                             "line 1: \"192.0.2.0/24\" has no name",
		"192.0.2.0/24 a\noffice 10.0.0.0/8\n":      "line 2: ",
		"192.0.2.0/24 " + strings.Repeat("x", 200): "line 1: the name of 192.0.2.0/24 has 200 octets",
		strings.Repeat("x", 1<<17):                 "token too long",
	} {
		path := file(t, "bad", text)
		table, err := New(Config{Files: []string{path}})
		if err == nil {
			table.Close()
			t.Errorf("%.40q was read", text)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.40q: %v, want the file and %q", text, err, want)
		}
	}
	if _, err := New(Config{Files: []string{"/nowhere"}}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Error(err)
	}
	if _, err := New(Config{GeoIP: []string{file(t, "x.mmdb", "not a database")}}); err == nil || !strings.Contains(err.Error(), "x.mmdb") {
		t.Error(err)
	}
}

// database writes a MaxMind database of one network.
func database(t testing.TB, kind, network string, value mmdbtype.Map) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := net.ParseCIDR(network)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Insert(n, value); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return file(t, kind+".mmdb", b.String())
}

func TestGeoIP(t *testing.T) {
	asn := database(t, "GeoLite2-ASN", "192.0.2.0/24", mmdbtype.Map{
		"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example"),
	})
	country := database(t, "GeoLite2-Country", "192.0.0.0/16", mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("NL")}})
	table, err := New(Config{GeoIP: []string{asn, country}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for range 2 { // the second from the cache
		if got := table.Geo(addr("192.0.2.9")); got != (correlate.Geo{ASN: 64500, Org: "Example", Country: "NL"}) {
			t.Errorf("got %+v", got)
		}
		if got := table.Geo(addr("192.0.3.9")); got != (correlate.Geo{Country: "NL"}) {
			t.Errorf("got %+v", got)
		}
		if got := table.Geo(addr("2001:db8::1")); got != (correlate.Geo{}) {
			t.Errorf("got %+v", got)
		}
	}
	for i := range 3 * maxAnswers {
		table.Geo(addr(fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)))
	}
	if len(table.geo.answers) > maxAnswers || table.Stats().GeoErrors != 0 || table.Stats().Databases != 2 {
		t.Errorf("%d answers, %+v", len(table.geo.answers), table.Stats())
	}
	if n := testing.AllocsPerRun(100, func() { table.Geo(addr0); table.Name(addr0) }); n != 0 {
		t.Errorf("%v allocations per known address", n)
	}
}

var addr0 = addr("192.0.2.9")

func FuzzParse(f *testing.F) {
	for _, s := range []string{awsList, googleList, azureList, ownList} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = parse(bytes.NewReader(b), func(p netip.Prefix, name string) error {
			if !p.IsValid() {
				t.Errorf("network %v called %q", p, name)
			}
			return nil
		})
	})
}
