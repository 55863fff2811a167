package dashboards

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// decode reads a provisioning file strictly: a misspelled key is an error here
// and would be silence in Grafana.
func decode(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(b, into, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestDataSourcesAreProvisioned: each data source that a dashboard names exists,
// with what Grafana's documentation asks of InfluxQL over InfluxDB 2.
func TestDataSourcesAreProvisioned(t *testing.T) {
	var file struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool `yaml:"isDefault"`
			Editable                     bool
			JSONData                     struct {
				Version         string
				DBName          string `yaml:"dbName"`
				HTTPMode        string `yaml:"httpMode"`
				TimeInterval    string `yaml:"timeInterval"`
				HTTPHeaderName1 string `yaml:"httpHeaderName1"`
			} `yaml:"jsonData"`
			SecureJSONData struct {
				HTTPHeaderValue1 string `yaml:"httpHeaderValue1"`
			} `yaml:"secureJsonData"`
		}
	}
	decode(t, "grafana/provisioning/datasources/weir.yaml", &file)
	if file.APIVersion != 1 {
		t.Errorf("apiVersion is %d, want 1", file.APIVersion)
	}
	uids, chosen := map[string]bool{}, []string{}
	offered := regexp.MustCompile(`^Weir( 1m| 1h)?$`)
	var defaults int
	for _, d := range file.Datasources {
		uids[d.UID] = true
		if offered.MatchString(d.Name) {
			chosen = append(chosen, d.UID)
		}
		if d.IsDefault {
			defaults++
		}
		if d.Name == "" || d.Type != "influxdb" || d.Access != "proxy" || d.URL != "${WEIR_INFLUXDB_URL}" {
			t.Errorf("%s: name, type, access or url: %+v", d.UID, d)
		}
		// the uid is the database that queries of that data source are for
		if d.JSONData.DBName != d.UID || d.JSONData.Version != "InfluxQL" {
			t.Errorf("%s: jsonData: %+v", d.UID, d.JSONData)
		}
		if d.JSONData.HTTPHeaderName1 != "Authorization" || d.SecureJSONData.HTTPHeaderValue1 != "Token ${WEIR_INFLUXDB_TOKEN}" {
			t.Errorf("%s: the token's header: %q: %q", d.UID, d.JSONData.HTTPHeaderName1, d.SecureJSONData.HTTPHeaderValue1)
		}
	}
	// what the variable of the pages offers by their names
	v, err := sources().Build()
	if err != nil {
		t.Fatal(err)
	}
	if *v.Regex != "/"+offered.String()+"/" || !slices.Equal(chosen, []string{string(mainDB), string(longDBs[0]), string(longDBs[1])}) {
		t.Errorf("%s offers %q", *v.Regex, chosen)
	}
	if defaults != 1 {
		t.Errorf("%d default data sources, want 1", defaults)
	}
	for _, q := range mustQueries(t, Values{}) {
		if !uids[q.Database] {
			t.Errorf("%s, %s: data source %q is not provisioned", q.Dashboard, q.Panel, q.Database)
		}
	}
}

func TestDashboardsAreProvisioned(t *testing.T) {
	var file struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name                  string
			OrgID                 int `yaml:"orgId"`
			Folder, Type          string
			DisableDeletion       bool `yaml:"disableDeletion"`
			AllowUIUpdates        bool `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int  `yaml:"updateIntervalSeconds"`
			Options               struct{ Path string }
		}
	}
	decode(t, "grafana/provisioning/dashboards/weir.yaml", &file)
	if file.APIVersion != 1 || len(file.Providers) != 1 {
		t.Fatalf("got %+v", file)
	}
	p := file.Providers[0]
	if p.Name == "" || p.Type != "file" || p.OrgID != 1 || p.Options.Path != "/var/lib/weir-dashboards" {
		t.Errorf("got %+v", p)
	}
}

// TestComposeMountsWhatIsProvisioned: Grafana and Chronograf find the files where they
// look for them.
func TestComposeMountsWhatIsProvisioned(t *testing.T) {
	b, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []string
		}
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for service, mounts := range map[string][]string{
		"grafana":    {"./dashboards/grafana/provisioning:/etc/grafana/provisioning:ro", "./dashboards/grafana:/var/lib/weir-dashboards:ro"},
		"chronograf": {"./dashboards/chronograf/resources:" + file.Services["chronograf"].Environment["RESOURCES_PATH"] + ":ro"},
	} {
		for _, m := range mounts {
			if !slices.Contains(file.Services[service].Volumes, m) {
				t.Errorf("%s: no mount %s in %q", service, m, file.Services[service].Volumes)
			}
		}
	}
}

// TestInstructionsAreComplete: who provisions a Grafana of their own is told of every
// variable and folder that the files ask for.
func TestInstructionsAreComplete(t *testing.T) {
	doc, err := os.ReadFile("../docs/dashboards.md")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{"--read-token-file": true, "/var/lib/weir-dashboards": true, "RESOURCES_PATH": true}
	for _, name := range []string{"datasources", "dashboards", "alerting"} {
		path := "grafana/provisioning/" + name + "/weir.yaml"
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wanted[path] = true
		for _, m := range regexp.MustCompile(`\$\{(WEIR_\w+)\}`).FindAllStringSubmatch(string(b), -1) {
			wanted[m[1]] = true
		}
	}
	for text := range wanted {
		if !strings.Contains(string(doc), text) {
			t.Errorf("docs/dashboards.md says nothing of %s", text)
		}
	}
	if len(wanted) < 8 {
		t.Errorf("only %d things to look for: %v", len(wanted), wanted)
	}
}
