package dashboards

import (
	"slices"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// checkGoingOn: what ended is not going on, what began is, once, with everything that
// its row says. The transformations are done here as Grafana does them.
func checkGoingOn(t *testing.T, s *server) {
	r := &reader{s, map[string]Page{}, map[string][]string{}}
	for _, p := range mustPages(t) {
		i := slices.IndexFunc(p.Panels, func(x dashboard.PanelOrRowPanel) bool {
			return x.Panel != nil && p.Name == "anomalies" && *x.Panel.Title == "Going on now"
		})
		if i < 0 {
			continue
		}
		panel := *p.Panels[i].Panel
		if panel.TimeFrom == nil {
			t.Error("what began before the time range is left out")
		}
		rows := r.rows(t, p, panel)
		if len(rows) != 2*sampleIntervals {
			t.Fatalf("%d rows of anomalies, want %d", len(rows), 2*sampleIntervals)
		}
		for _, x := range panel.Transformations {
			options := x.Options.(map[string]any)
			switch x.Id {
			case "groupBy":
				rows = groupedAsGrafana(rows, options["fields"].(map[string]any))
			case "organize":
				rows = renamedAsGrafana(rows, options["renameByName"].(map[string]any))
			case "filterByValue":
				f := options["filters"].([]map[string]any)[0]
				column := f["fieldName"].(string)
				want := f["config"].(map[string]any)["options"].(map[string]any)["value"]
				rows = slices.DeleteFunc(rows, func(row map[string]string) bool { return row[column] != want })
			case "sortBy", "limit":
			default:
				t.Errorf("transformation %s is not done here", x.Id)
			}
		}
		if len(rows) != 1 {
			t.Fatalf("%d anomalies go on, want the one: %v", len(rows), rows)
		}
		for column, want := range map[string]string{
			sink.TagEventType: "port_scan", sink.FieldState: "active", clientTag: "office", serverTag: "shop/db", sink.TagHost: "one",
			sink.LogProcess[sink.ServerEnd]: "postgres", sink.LogContainer[sink.ServerEnd]: "shop-db-1", sink.LogCmdline[sink.ServerEnd]: "sample",
			sink.FieldFingerprint: "0000000000000003", sink.FieldEvidence: "sample",
		} {
			if rows[0][column] != want {
				t.Errorf("%s is %q, want %q", column, rows[0][column], want)
			}
		}
		return
	}
	t.Fatal("there is no such panel")
}

// groupedAsGrafana keeps the first value that is not null of each column.
func groupedAsGrafana(rows []map[string]string, fields map[string]any) (list []map[string]string) {
	var of []string
	for name, f := range fields {
		if f.(map[string]any)["operation"] == "groupby" {
			of = append(of, name)
		}
	}
	slices.Sort(of)
	groups := map[string]map[string]string{}
	for _, row := range rows {
		key := ""
		for _, name := range of {
			key += row[name] + "\x00"
		}
		group, ok := groups[key]
		if !ok {
			group = map[string]string{}
			groups[key], list = group, append(list, group)
		}
		for name, f := range fields {
			if slices.Contains(of, name) {
				group[name] = row[name]
				continue
			}
			as := name + " (" + f.(map[string]any)["aggregations"].([]string)[0] + ")"
			if group[as] == "" {
				group[as] = row[name]
			}
		}
	}
	return list
}

func renamedAsGrafana(rows []map[string]string, names map[string]any) (list []map[string]string) {
	for _, row := range rows {
		to := map[string]string{}
		for name, v := range row {
			if n, ok := names[name].(string); ok {
				name = n
			}
			to[name] = v
		}
		list = append(list, to)
	}
	return list
}
