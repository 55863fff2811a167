package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// capabilities is what the program's documentation promises to need.
var capabilities = []string{"BPF", "DAC_READ_SEARCH", "NET_ADMIN", "PERFMON", "SYS_PTRACE"}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile, Target string }
	PullPolicy  string `yaml:"pull_policy"`
	Entrypoint  []string
	Command     []string
	Environment map[string]string
	Profiles    []string
	Volumes     []string
	Ports       []string
	Healthcheck struct {
		Test                           []string
		Interval, Timeout, StartPeriod string
		Retries                        int
	}
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	NetworkMode string   `yaml:"network_mode"`
	PID         string   `yaml:"pid"`
	Cgroup      string
	Privileged  bool
	ReadOnly    bool                         `yaml:"read_only"`
	DependsOn   map[string]map[string]string `yaml:"depends_on"`
	Restart     string
	Logging     struct{ Driver string }
}

type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

// builds says whether a service's image is built, by itself or by another that runs in
// the same profiles.
func (c *compose) builds(s service) bool {
	for _, other := range c.Services {
		if other.Build.Context != "" && other.Image == s.Image && slices.Equal(other.Profiles, s.Profiles) {
			return true
		}
	}
	return false
}

func readCompose(t *testing.T) compose {
	t.Helper()
	b, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompose(t *testing.T) {
	c := readCompose(t)
	pinned := regexp.MustCompile(`^[a-z/]+:\d+\.\d+\.\d+$`)
	for name, s := range c.Services {
		if !c.builds(s) && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %q is not pinned to a release", name, s.Image)
		}
		if c.builds(s) && s.PullPolicy != "never" {
			t.Errorf("%s: image %q is somebody else's in a registry", name, s.Image)
		}
		if s.Restart != "no" && (len(s.Healthcheck.Test) < 2 || s.Healthcheck.Retries == 0) {
			t.Errorf("%s: no health check", name)
		}
		if s.Logging.Driver != "local" { // Docker's own default grows without bound
			t.Errorf("%s: logs go to %q", name, s.Logging.Driver)
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(source, "./") {
				if _, err := os.Stat(filepath.Join("..", source)); err != nil {
					t.Errorf("%s mounts %s: %v", name, source, err)
				}
			} else if _, ok := c.Volumes[source]; !ok && !strings.HasPrefix(source, "/") {
				t.Errorf("%s mounts the volume %s, which is not declared", name, source)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s to the network", name, p)
			}
		}
		for other, condition := range s.DependsOn {
			want := "service_healthy"
			if c.Services[other].Restart == "no" { // it ends
				want = "service_completed_successfully"
			}
			if _, ok := c.Services[other]; !ok || condition["condition"] != want {
				t.Errorf("%s depends on %s: %v, want %s", name, other, condition, want)
			}
			if of := c.Services[other].Profiles; len(of) > 0 && !slices.Equal(of, s.Profiles) {
				t.Errorf("%s depends on %s, which only profile %v has", name, other, of)
			}
		}
		for key, value := range s.Environment {
			if regexp.MustCompile(`(?i)password|token|secret`).MatchString(key) && !strings.HasPrefix(value, "/") {
				t.Errorf("%s: %s stands in the file", name, key)
			}
		}
	}
}

func TestComposeRunsWeirWithLeastPrivilege(t *testing.T) {
	for _, name := range []string{"weir", "weir-tick"} {
		w := readCompose(t).Services[name]
		slices.Sort(w.CapAdd)
		if d := cmp.Diff(capabilities, w.CapAdd); d != "" {
			t.Errorf("%s: cap_add (-want +got):\n%s", name, d)
		}
		if !slices.Equal(w.CapDrop, []string{"ALL"}) || w.Privileged || !w.ReadOnly || !slices.Contains(w.SecurityOpt, "no-new-privileges=true") {
			t.Errorf("%s: got cap_drop %v, privileged %v, read_only %v, security_opt %v", name, w.CapDrop, w.Privileged, w.ReadOnly, w.SecurityOpt)
		}
		if w.PID != "host" || w.NetworkMode != "host" || w.Cgroup != "host" {
			t.Errorf("%s: namespaces: pid %s, network %s, cgroup %s", name, w.PID, w.NetworkMode, w.Cgroup)
		}
		for _, v := range w.Volumes {
			if strings.HasPrefix(v, "/") && !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s: %s of the host is mounted for writing", name, v)
			}
		}
	}
}

// TestGrafanaFindsItsFiles: the paths of the mounts and those that provisioning
// names are the same.
func TestGrafanaFindsItsFiles(t *testing.T) {
	g := readCompose(t).Services["grafana"]
	provider, err := os.ReadFile("../dashboards/grafana/provisioning/dashboards/weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := os.ReadFile("../dashboards/grafana/provisioning/datasources/weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var path string
	for _, v := range g.Volumes {
		if rest, ok := strings.CutPrefix(v, "./dashboards/grafana:"); ok {
			path = strings.TrimSuffix(rest, ":ro")
		}
	}
	if path == "" || !strings.Contains(string(provider), "path: "+path+"\n") {
		t.Errorf("dashboards are mounted at %q, provisioning looks elsewhere", path)
	}
	home := strings.TrimPrefix(g.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], path+"/")
	if _, err := os.Stat(filepath.Join("../dashboards/grafana", home)); err != nil {
		t.Errorf("home dashboard: %v", err)
	}
	given := strings.Join(g.Entrypoint, "\n")
	for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(string(sources), -1) {
		if _, ok := g.Environment[m[1]]; !ok && !strings.Contains(given, m[1]+"=") {
			t.Errorf("provisioning wants %s, which the service does not have", m[1])
		}
	}
}

// TestComposeConfig lets Compose itself read the file, with each profile.
func TestComposeConfig(t *testing.T) {
	command := composeCommand(t, "weir")
	always := []string{"grafana", "influxdb", "weir", "weir-setup"}
	for profile, more := range map[string][]string{
		"":     nil,
		"demo": {"pager", "shop-api", "shop-cache", "shop-load", "shop-web", "shop-worker"},
		"tick": {"chronograf", "influxdb1", "kapacitor", "weir-tick", "weir-tick-setup"},
	} {
		args := slices.Clone(command[1:])
		if profile != "" {
			args = append(args, "--profile", profile)
		}
		if out, err := exec.CommandContext(t.Context(), command[0], append(args, "config", "-q")...).CombinedOutput(); err != nil {
			t.Errorf("profile %q: %v: %s", profile, err, out)
			continue
		}
		out, err := exec.CommandContext(t.Context(), command[0], append(args, "config", "--services")...).Output()
		if err != nil {
			t.Errorf("profile %q: %v", profile, err)
		}
		got, want := strings.Fields(string(out)), append(slices.Clone(always), more...)
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("profile %q (-want +got):\n%s", profile, d)
		}
	}
}
