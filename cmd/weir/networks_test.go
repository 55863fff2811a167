package main

import (
	"net/netip"
	"testing"
)

// A host is where its setting says; else where zones has it by its name.
func TestOwnZone(t *testing.T) {
	const yaml = "host: node1\nzones: {node1: a, node2: b, 10.1.0.0/16: c}\n"
	for _, x := range []struct {
		what, yaml string
		env        []string
		flags      []given
		want       string
	}{
		{"nothing", "", nil, nil, ""},
		{"the setting", "zone: z\n", nil, nil, "z"},
		{"by name", yaml, nil, nil, "a"},
		{"another's name", yaml, []string{"WEIR_HOST=node2"}, nil, "b"},
		{"nobody's name", yaml, []string{"WEIR_HOST=node3"}, nil, ""},
		{"the environment over the name", yaml, []string{"WEIR_ZONE=e"}, nil, "e"},
		{"a label that the node lacks", yaml, []string{"WEIR_ZONE="}, nil, "a"},
		{"the flag over the environment", yaml, []string{"WEIR_ZONE=e"}, []given{{"zone", "f"}}, "f"},
	} {
		c, err := loadConfig(file(t, x.yaml), x.flags, x.env)
		if err != nil {
			t.Errorf("%s: %v", x.what, err)
		} else if got := c.ownZone(); got != x.want {
			t.Errorf("%s: %q, want %q", x.what, got, x.want)
		}
	}
}

// Networks are where they, or their node, are said to be.
func TestZonesOfNetworks(t *testing.T) {
	c, err := loadConfig(file(t, "host: here\nnodes: {10.1.2.0/24: node2, 10.1.3.0/24: node2, 10.1.4.0/24: node4}\n"+
		"zones: {10.1.0.0/16: a, node2: b, here: c, 10.1.3.0/24: b}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[netip.Prefix]string{}
	for _, s := range c.zones() {
		got[s.Prefix] = s.Name
	}
	want := map[string]string{"10.1.0.0/16": "a", "10.1.2.0/24": "b", "10.1.3.0/24": "b"}
	for cidr, zone := range want {
		if got[netip.MustParsePrefix(cidr)] != zone {
			t.Errorf("%s: %v", cidr, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}

// A reload names ends anew for each thing that is said of networks.
func TestSameNetworks(t *testing.T) {
	base := func() *Config {
		return &Config{
			Subnets: map[string]string{"10.0.0.0/8": "a"}, Nodes: map[string]string{"10.1.0.0/16": "b"}, Fleet: []string{"10.2.0.0/16"},
			Zone: "z", Zones: map[string]string{"10.3.0.0/16": "c"},
		}
	}
	if !base().sameNetworks(base()) {
		t.Error("a copy differs")
	}
	for what, change := range map[string]func(c *Config){
		"subnets": func(c *Config) { c.Subnets["10.0.0.0/8"] = "x" },
		"nodes":   func(c *Config) { c.Nodes["10.1.0.0/16"] = "x" },
		"fleet":   func(c *Config) { c.Fleet[0] = "10.9.0.0/16" },
		"zone":    func(c *Config) { c.Zone = "x" },
		"zones":   func(c *Config) { c.Zones["10.3.0.0/16"] = "x" },
	} {
		c := base()
		if change(c); c.sameNetworks(base()) {
			t.Errorf("%s: the change is not seen", what)
		}
	}
}

// Doctor says where the host is, and when zones of others are of no use.
func TestExamineZone(t *testing.T) {
	others := map[string]string{"10.1.0.0/16": "a"}
	for _, x := range []struct {
		cfg  Config
		want verdict
		text string
	}{
		{Config{}, plain, "not known"},
		{Config{Zone: "z", Zones: others}, plain, "z"},
		{Config{Zones: others}, limited, "known of others and not of this host: what goes between zones is not told"},
	} {
		if c := examineZone(&x.cfg); c.State != x.want || c.Detail != x.text || (c.Remedy != "") != (x.want == limited) {
			t.Errorf("%+v", c)
		}
	}
}
