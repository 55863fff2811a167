package main

import (
	"reflect"
	"testing"
	"time"
)

// TestExampleIsTheDefault: deploy/weir.yaml names every key with its default.
func TestExampleIsTheDefault(t *testing.T) {
	got, err := loadConfig("../../deploy/weir.yaml", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	want.file, want.Journal.explicit = got.file, got.Journal.explicit
	want.InfluxDB.Bucket, want.InfluxDB.Timeout = got.InfluxDB.Bucket, got.InfluxDB.Timeout // the sink's defaults, spelled out
	for _, c := range []*Config{&got, &want} {
		if len(c.Sinks) == 0 {
			c.Sinks = nil
		}
		if len(c.Interfaces) == 0 {
			c.Interfaces = nil
		}
		for _, files := range []*[]string{&c.Names.Ranges, &c.Names.GeoIP, &c.TLS, &c.Anomaly.Off} {
			if len(*files) == 0 {
				*files = nil
			}
		}
		if len(c.Anomaly.Silences) == 0 {
			c.Anomaly.Silences = nil
		}
		if len(c.Anomaly.Overrides) == 0 {
			c.Anomaly.Overrides = nil
		}
		if len(c.Alerts.Receivers) == 0 {
			c.Alerts.Receivers = nil
		}
		if len(c.Fleet) == 0 {
			c.Fleet = nil
		}
		if len(c.Subnets) == 0 {
			c.Subnets = nil
		}
		if len(c.Nodes) == 0 {
			c.Nodes = nil
		}
		if len(c.Zones) == 0 {
			c.Zones = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("deploy/weir.yaml gives\n%+v\nwant the defaults\n%+v", got, want)
	}
}

// TestComposeConfigurations: those that docker-compose.yml mounts change what they say,
// and nothing else.
func TestComposeConfigurations(t *testing.T) {
	for name, receivers := range map[string]int{"weir": 0, "demo": 1} {
		got, err := loadConfig("../../deploy/compose/weir/"+name+".yaml", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Alerts.Receivers) != receivers {
			t.Errorf("%s: %d receivers, want %d", name, len(got.Alerts.Receivers), receivers)
		}
		want := defaultConfig()
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		want.file, want.Alerts = got.file, got.Alerts
		if name == "demo" { // learns in minutes, what minutes can teach
			if a := got.Anomaly; a.Learn != 5*time.Minute || a.Relearn != a.Learn || len(a.Off) == 0 || len(a.Silences) == 0 {
				t.Errorf("%s: anomaly %+v", name, a)
			}
			want.Anomaly = got.Anomaly
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s.yaml gives\n%+v\nwant the defaults\n%+v", name, got, want)
		}
	}
}
