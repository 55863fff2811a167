package cases

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/weir-probe/weir/test/influxd"
)

// grafanaRule is one of the alert rules that Grafana is provisioned with: it asks, takes
// the last value of each series, and compares it.
type grafanaRule struct {
	UID  string
	Data []struct {
		RelativeTimeRange struct{ From int } `yaml:"relativeTimeRange"`
		Model             struct {
			Query      string
			Conditions []struct {
				Evaluator struct {
					Type   string
					Params []float64
				}
			}
		}
	}
}

func grafanaRules(t *testing.T) []grafanaRule {
	t.Helper()
	b, err := os.ReadFile("../../dashboards/grafana/provisioning/alerting/weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []grafanaRule }
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("rules: %+v", file)
	}
	return file.Groups[0].Rules
}

// firing says for which series the rule fires when it is evaluated at a time: by the values
// of their tags, those of the host left out.
func (r *grafanaRule) firing(t *testing.T, db *influxd.Server, at time.Time) (list []string) {
	t.Helper()
	ask, compare := r.Data[0], r.Data[2].Model.Conditions[0].Evaluator
	from := at.Add(-time.Duration(ask.RelativeTimeRange.From) * time.Second)
	last := map[string]float64{}
	for _, x := range db.QueryInfluxQL(t, influxd.Bucket, strings.ReplaceAll(ask.Model.Query, "$timeFilter",
		fmt.Sprintf("time >= %dms and time <= %dms", from.UnixMilli(), at.UnixMilli()))) {
		var tags []string
		for _, k := range slices.Sorted(maps.Keys(x.Tags)) {
			if k != "host" {
				tags = append(tags, x.Tags[k])
			}
		}
		for column, v := range x.Values {
			if n, ok := v.(json.Number); ok && column != "time" {
				f, err := n.Float64()
				if err != nil {
					t.Fatal(err)
				}
				last[strings.Join(tags, " ")] = f
			}
		}
	}
	for series, v := range last {
		if limit := compare.Params[0]; compare.Type == "gt" && v > limit || compare.Type == "lt" && v < limit {
			list = append(list, series)
		}
	}
	slices.Sort(list)
	return list
}
