package sink

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
)

// podded is an end in a container of a pod.
func podded(namespace, workload, controller, pod, name string) correlate.Endpoint {
	e := container("", "", name, "server")
	e.Contain.ID, e.Contain.Image = strings.Repeat("a", 64), "registry/app:1"
	e.Contain.Pod = correlate.Pod{UID: pod, Namespace: namespace, Name: pod, Workload: workload, Controller: controller}
	e.Kind, e.Name = e.Contain.Kind(), e.Contain.DisplayName()
	return e
}

// H6: pods are replaced, series stay.
func TestReplacedPodsMakeNoSeries(t *testing.T) {
	for _, g := range []Granularity{GranularityAuto, GranularityProcess, GranularityContainer, GranularityWorkload} {
		cfg := testConfig()
		cfg.Granularity = g
		a, l := NewAggregator(cfg), NewFlowLog(cfg)
		seen := map[string]bool{}
		for i := range 50 {
			api := podded("shop", "api", "deployment/api", fmt.Sprint("api-6d5f9c7b84-x2x9", i), "http")
			front := podded("shop", "front", "deployment/front", fmt.Sprint("front-59c7f8b6dd-kxz2", i), "nginx")
			r := record(front, listening(api, 8080))
			a.Add(r)
			l.Add(r, at(i))
			for _, p := range points(t, append(a.Flush(at(i)), l.Flush(at(i))...)) {
				seen[p.series] = true
			}
		}
		if len(seen) != 3 { // flow, flow_latency, flow_log
			t.Errorf("%s: %d series: %v", g, len(seen), slices.Sorted(maps.Keys(seen)))
		}
	}
}

func TestPodTags(t *testing.T) {
	api := listening(podded("shop", "api", "deployment/api", "api-6d5f9c7b84-x2x9q", "http"), 8080)
	guessed := podded("shop", "single", "", "single", "main")
	for g, want := range map[Granularity][3]string{ // client_container, server_container, server_process
		GranularityAuto: {}, GranularityWorkload: {}, GranularityContainer: {"main", "http", ""}, GranularityProcess: {"main", "http", "server"},
	} {
		cfg := testConfig()
		cfg.Granularity = g
		a := NewAggregator(cfg)
		a.Add(record(guessed, api))
		p := points(t, a.Flush(at(1)))[0]
		if got := [3]string{p.tags["client_container"], p.tags["server_container"], p.tags["server_process"]}; got != want {
			t.Errorf("%s: %q, want %q", g, got, want)
		}
		for k, v := range map[string]string{
			"client": "shop/single", "client_kind": "pod", "client_namespace": "shop", "client_workload": "",
			"server": "shop/api", "server_kind": "pod", "server_namespace": "shop", "server_workload": "deployment/api",
		} {
			if p.tags[k] != v {
				t.Errorf("%s: %s is %q, want %q", g, k, p.tags[k], v)
			}
		}
	}
	// auto folds edges of pods only
	a := NewAggregator(testConfig())
	a.Add(record(container("shop", "web", "shop_web_1", "nginx"), external("x")))
	if p := points(t, a.Flush(at(1)))[0]; p.tags["client_process"] != "nginx" || p.tags["client_container"] != "shop_web_1" {
		t.Errorf("%v", p.tags)
	}
}

func TestFlowLogPod(t *testing.T) {
	api := listening(podded("shop", "api", "deployment/api", "api-0", "http"), 8080)
	box := podded("shop", "gone", "", "gone-0", "")
	box.Contain.Sandbox, box.Contain.Image, box.Process = true, "", nil
	l := NewFlowLog(testConfig())
	l.Add(record(box, api), at(1))
	p := points(t, l.Flush(at(1)))[0]
	for k, want := range map[string]any{
		"client_pod": "gone-0", "client_container": nil, "client_container_id": nil, "client_image": nil,
		"server_pod": "api-0", "server_container": "http", "server_container_id": api.Contain.ID, "server_image": "registry/app:1",
	} {
		if p.fields[k] != want {
			t.Errorf("%s is %v, want %v", k, p.fields[k], want)
		}
	}
}

// Whatever stands in a name, a row is one line, its tags are those that were
// meant, and a name of kilobytes is cut.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		"a b", "a,b", "a=b", `a"b`, "a\nb", "a\r\nflow,host=evil client=1i", "a\tb", "a\x00b", "a\x1b[31mb", `a\`, `\,`, "a\u2028b", "\xff\xfe",
		strings.Repeat("n", 4096), strings.Repeat("ü", 4096), " ", "other",
	} {
		end := podded(name, name, "deployment/"+name, name, name)
		end.Contain.Image = name
		cfg := testConfig()
		cfg.Granularity = GranularityProcess
		a, l := NewAggregator(cfg), NewFlowLog(cfg)
		r := record(end, listening(end, 80))
		a.Add(r)
		l.Add(r, at(1))
		got := points(t, append(a.Flush(at(1)), l.Flush(at(1))...))
		if len(got) != 3 {
			t.Fatalf("%q: %d rows", name, len(got))
		}
		for _, p := range got {
			if p.tags["host"] != "h1" || p.tags["client"] != p.tags["server"] || p.tags["client"] == "" {
				t.Errorf("%q: %v", name, p.tags)
			}
			for k, v := range p.tags {
				if len(v) > 1024 || strings.ContainsAny(v, "\n\r\x00\x1b\u2028") {
					t.Errorf("%q: %s is %q", name, k, v)
				}
			}
		}
	}
}
