package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDefaultsValidate(t *testing.T) {
	c, err := loadConfig(filepath.Join(t.TempDir(), "none"), nil, nil)
	if err == nil {
		t.Error("a file that was asked for and is not there passes")
	}
	c = defaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Interval != 10*time.Second || c.Listen != "127.0.0.1:8380" || c.FlowLogRate != 1000 || c.Packets != "auto" || len(c.Sinks) != 0 {
		t.Errorf("not the defaults of product.md: %+v", c)
	}
	if c.Rows.Host != c.Host || c.Rows.FlowLogRate != c.FlowLogRate {
		t.Error("Validate does not hand host and rate on to the rows")
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Defaults < YAML < environment < flags, for each kind of value.
func TestPrecedence(t *testing.T) {
	const yaml = "interval: 20s\nhost: yaml\nsinks: [none]\ninterfaces: [y0, y1]\nflow_log_rate: 20\ninfluxdb: {url: 'http://yaml:1', org: yaml, bucket: yaml}\n"
	env := []string{"WEIR_INTERVAL=30s", "WEIR_HOST=env", "WEIR_SINK=stdout,file:/e", "WEIR_INTERFACE=e0", "WEIR_FLOW_LOG_RATE=30", "WEIR_INFLUXDB_URL=http://env:1", "INFLUX_HOST=http://influx:1", "INFLUX_ORG=influx", "INFLUX_BUCKET=influx"}
	flags := []given{{"interval", "40s"}, {"host", "flag"}, {"sink", "file:/f"}, {"sink", "stdout"}, {"interface", "f0"}, {"flow-log-rate", "0"}, {"influxdb-url", "http://flag:1"}, {"influxdb-bucket", "flag"}}
	host, _ := os.Hostname()
	type values struct {
		Interval    time.Duration
		Host        string
		Sinks       string
		Interfaces  string
		Rate        int
		URL, Org, B string
	}
	for _, c := range []struct {
		name  string
		yaml  string
		env   []string
		flags []given
		want  values
	}{
		{"defaults", "", nil, nil, values{10 * time.Second, host, "", "", 1000, "", "", ""}},
		{"yaml", yaml, nil, nil, values{20 * time.Second, "yaml", "none", "y0 y1", 20, "http://yaml:1", "yaml", "yaml"}},
		{"environment over yaml", yaml, env, nil, values{30 * time.Second, "env", "stdout file:/e", "e0", 30, "http://env:1", "influx", "influx"}},
		{"flags over environment", yaml, env, flags, values{40 * time.Second, "flag", "file:/f stdout", "f0", 0, "http://flag:1", "influx", "flag"}},
		{"flags over defaults", "", nil, flags, values{40 * time.Second, "flag", "file:/f stdout", "f0", 0, "http://flag:1", "", "flag"}},
		{"InfluxDB's own variables", "", env[6:], nil, values{10 * time.Second, host, "influxdb", "", 1000, "http://influx:1", "influx", "influx"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := loadConfig(file(t, c.yaml), c.flags, c.env)
			if err != nil {
				t.Fatal(err)
			}
			got := values{g.Interval, g.Host, strings.Join(g.Sinks, " "), strings.Join(g.Interfaces, " "), g.FlowLogRate, g.InfluxDB.URL, g.InfluxDB.Org, g.InfluxDB.Bucket}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// A file that sets nothing changes nothing.
func TestEmptyFiles(t *testing.T) {
	want := defaultConfig()
	_ = want.Validate()
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "journal:\n", "rows:\n", "influxdb:\n", "join:\n", "host:\n", "interval:\n", "listen:\n"} {
		got, err := loadConfig(file(t, text), nil, nil)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got.file = ""
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q changes\n%+v\nto\n%+v", text, want, got)
		}
	}
}

// Every error names the place and what would be right.
func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		yaml  string
		env   string
		flag  given
		wants []string
	}{
		{yaml: "intervall: 5s\n", wants: []string{"weir.yaml", "[1:1]", `"intervall"`, "correct its name"}},
		{yaml: "interval: soon\n", wants: []string{"weir.yaml", `"soon"`, "10s"}},
		{yaml: "interval: 5\n", wants: []string{"weir.yaml", "Interval", "10s"}},
		{yaml: "a: b: c\n", wants: []string{"weir.yaml", "[1:"}},
		{yaml: "influxdb: {token: x}\n", wants: []string{"weir.yaml", "token_file", "WEIR_INFLUXDB_TOKEN"}},
		{yaml: "influxdb: {password: x}\n", wants: []string{"weir.yaml", "WEIR_INFLUXDB_PASSWORD"}},
		{yaml: "subnets: {10.0.0.0/64: x}\n", wants: []string{"subnets", "10.0.0.0/64", "10.0.0.0/8"}},
		{yaml: "nodes: {10.1.0.0/16: ''}\n", wants: []string{"nodes", "10.1.0.0/16", "a name"}},
		{yaml: "zones: {10.1.0.0: a}\n", wants: []string{"zones", `"10.1.0.0"`, "10.1.0.0/16"}},
		{yaml: "zones: {10.1.0.0/33: a}\n", wants: []string{"zones", "10.1.0.0/33", "10.1.0.0/16"}},
		{yaml: "zones: {'': a}\n", wants: []string{"zones", `""`, "name of a host"}},
		{yaml: "zones: {10.1.0.0/16: ''}\n", wants: []string{"zones", "10.1.0.0/16", "no zone"}},
		{yaml: "nodes: {10.1.2.0/24: node2}\nzones: {nod2: a}\n", wants: []string{"zones", `"nod2"`, "named in nodes"}},
		{yaml: "nodes: {10.1.2.0/24: node2}\nzones: {10.1.2.9/24: b, node2: a}\n", wants: []string{"zones", "10.1.2.0/24", "a and b"}},
		{yaml: "cmdline: maybe\n", wants: []string{"cmdline", "maybe", "redact, full, off"}},
		{yaml: "max_flows: 3\n", wants: []string{"max_flows", "1024"}},
		{env: "WEIR_INTERVALL=5s", wants: []string{"environment WEIR_INTERVALL", "--help"}},
		{env: "WEIR_INTERVAL=soon", wants: []string{"environment WEIR_INTERVAL", "soon", "10s"}},
		{env: "WEIR_FLOW_LOG_RATE=many", wants: []string{"environment WEIR_FLOW_LOG_RATE", "many", "whole number"}},
		{env: "WEIR_CONFIG=/nonexistent/w.yaml", wants: []string{"/nonexistent/w.yaml", "--config"}},
		{flag: given{"interval", "soon"}, wants: []string{"--interval", "soon", "10s"}},
		{flag: given{"interval", "999ms"}, wants: []string{"interval", "at least 1s"}},
		{flag: given{"interval", "-1s"}, wants: []string{"interval", "at least 1s"}},
		{flag: given{"duration", "-1s"}, wants: []string{"duration", "negative"}},
		{flag: given{"flow-log-rate", "-1"}, wants: []string{"flow-log-rate", "0 switches"}},
		{flag: given{"packets", "pcap"}, wants: []string{"packets", "auto, off, tcx, tc, afpacket"}},
		{flag: given{"log-level", "loud"}, wants: []string{"log-level", "debug, info, warn, error"}},
		{flag: given{"log-format", "xml"}, wants: []string{"log-format", "text, json"}},
		{flag: given{"interface", "["}, wants: []string{"interface", "glob"}},
		{flag: given{"listen", "8380"}, wants: []string{"listen", "127.0.0.1:8380"}},
		{flag: given{"listen", "0.0.0.0:8380"}, wants: []string{"listen", "loopback"}},
		{flag: given{"listen", ":8380"}, wants: []string{"listen", "loopback"}},
		{flag: given{"listen", "example.org:8380"}, wants: []string{"listen", "loopback"}},
		{flag: given{"sink", "influxdb"}, wants: []string{"--influxdb-url", "INFLUX_HOST"}},
		{flag: given{"sink", "kafka"}, wants: []string{"kafka", "file:PATH"}},
		{flag: given{"sink", "file:"}, wants: []string{"file:PATH"}},
		{flag: given{"host", ""}, wants: []string{"host", "--host"}},
		{flag: given{"influxdb-url", "ftp://x"}, wants: []string{"influxdb", "http"}},
	} {
		name := c.yaml + c.env + c.flag.name + "=" + c.flag.value
		t.Run(name, func(t *testing.T) {
			path, env, flags := "", []string(nil), []given(nil)
			if c.env != "" {
				env = []string{c.env}
			}
			if !strings.HasPrefix(c.env, "WEIR_CONFIG") {
				path = file(t, c.yaml)
			}
			if c.flag.name != "" {
				flags = []given{c.flag}
			}
			_, err := loadConfig(path, flags, env)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.wants {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("does not say %q: %v", w, err)
				}
			}
		})
	}
}

func TestListenIsLocal(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1:0", "127.8.8.8:80", "[::1]:8380", "localhost:8380"} {
		c := defaultConfig()
		c.Listen = addr
		if err := c.Validate(); err != nil {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// A journal that was asked for must be had; the default one may fall back.
func TestJournalExplicit(t *testing.T) {
	for _, c := range []struct {
		yaml     string
		env      []string
		flags    []given
		dir      string
		explicit bool
	}{
		{"", nil, nil, defaultJournal, false},
		{"journal: {max_age: 1h}\n", nil, nil, defaultJournal, false},
		{"journal: {dir: /j}\n", nil, nil, "/j", true},
		{"journal: {dir: ''}\n", nil, nil, "", true},
		{"journal: {dir: /j}\n", []string{"WEIR_JOURNAL="}, nil, "", true},
		{"", []string{"WEIR_JOURNAL=/e"}, nil, "/e", true},
		{"", []string{"WEIR_JOURNAL=/e"}, []given{{"journal", ""}}, "", true},
	} {
		got, err := loadConfig(file(t, c.yaml), c.flags, c.env)
		if err != nil {
			t.Error(err)
		} else if got.Journal.Dir != c.dir || got.Journal.explicit != c.explicit {
			t.Errorf("%q %v %v: %q, explicit %v", c.yaml, c.env, c.flags, got.Journal.Dir, got.Journal.explicit)
		}
	}
}

// Kubernetes sets WEIR_… variables where there is a Service named weir.
func TestForeignVariables(t *testing.T) {
	env := []string{"WEIR_SERVICE_HOST=10.96.0.7", "WEIR_SERVICE_PORT=8380", "WEIR_SERVICE_PORT_HTTP=8380", "WEIR_PORT=tcp://10.96.0.7:8380",
		"WEIR_PORT_8380_TCP=tcp://10.96.0.7:8380", "WEIR_TEST_INFLUXDB_URL=x", "WEIR_REQUIRE=influxdb", "WEIR_CACHE=/c", "PATH=/bin"}
	if _, err := loadConfig(file(t, ""), nil, env); err != nil {
		t.Error(err)
	}
}

// No secret comes out by an error, a log value or a formatted configuration.
func TestSecretsStayInside(t *testing.T) {
	const secret = "s3cr3t-t0ken"
	var said []string
	for _, env := range [][]string{
		{"INFLUX_TOKEN=" + secret, "INFLUX_HOST=http://h:1"},
		{"WEIR_INFLUXDB_TOKEN=" + secret, "INFLUX_HOST=nonsense"},
		{"WEIR_INFLUXDB_PASSWORD=" + secret, "WEIR_INFLUXDB_USERNAME=u", "INFLUX_HOST=http://h:1", "WEIR_INTERVAL=0"},
		{"INFLUX_HOST=http://u:" + secret + "@h:1"},
		{"INFLUX_HOST=http://u:" + secret + "@[h"},
		{"INFLUX_HOST=http://u:" + secret + "@h:port"},
	} {
		c, err := loadConfig(file(t, ""), nil, env)
		c.InfluxDB.URL = "" // shown where it is not refused; it holds no secret then
		said = append(said, fmt.Sprint(err), fmt.Sprintf("%v %+v %#v", c, c.InfluxDB, c))
	}
	for _, yaml := range []string{
		"influxdb:\n  token: " + secret + "\n", "influxdb:\n  password: " + secret + "\n", "token: " + secret + "\n",
		"influxdb:\n  url: http://x\n  token: [" + secret + "\n", "influxdb:\n  Token: " + secret + "\n",
	} {
		_, err := loadConfig(file(t, yaml), nil, nil)
		if err == nil {
			t.Errorf("%q passes", yaml)
		}
		said = append(said, fmt.Sprint(err))
	}
	for _, url := range []string{"https://hooks.example/" + secret, "ftp://hooks.example/" + secret, "https://u:" + secret + "@h:port", secret} {
		c, err := loadConfig(file(t, "alerts: {receivers: [{kind: slack, url: '"+url+"'}]}\n"), nil, nil)
		said = append(said, fmt.Sprint(err), fmt.Sprintf("%v %+v %#v", c, c.Alerts, c))
	}
	for _, s := range said {
		if strings.Contains(s, secret) {
			t.Errorf("a secret is shown: %s", s)
		}
	}
}
