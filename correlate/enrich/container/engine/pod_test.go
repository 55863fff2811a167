package engine

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
)

func TestWorkload(t *testing.T) {
	hash := func(h string) map[string]string { return map[string]string{"pod-template-hash": h} }
	for _, c := range []struct {
		name                 string
		labels               map[string]string
		workload, controller string
	}{
		// the controller's own labels tell
		{"api-6d5f9c7b84-x2x9q", hash("6d5f9c7b84"), "api", "deployment/api"},
		{"my-app-v2-59c7f8b6dd-kxz2b", hash("59c7f8b6dd"), "my-app-v2", "deployment/my-app-v2"},
		{"db-0", map[string]string{"statefulset.kubernetes.io/pod-name": "db-0"}, "db", "statefulset/db"},
		{"db-12345", map[string]string{"statefulset.kubernetes.io/pod-name": "db-12345"}, "db", "statefulset/db"},
		{"proxy-k7x2p", map[string]string{"pod-template-generation": "1", "controller-revision-hash": "x"}, "proxy", "daemonset/proxy"},
		{"import-x2x9q", map[string]string{"batch.kubernetes.io/job-name": "import", "job-name": "import"}, "import", "job/import"},
		{"import-3-x2x9q", map[string]string{"job-name": "import"}, "import", "job/import"},
		{"backup-28391230-x2x9q", map[string]string{"job-name": "backup-28391230"}, "backup", "cronjob/backup"},
		// a label that the name does not bear out is anybody's
		{"pretender", hash("6d5f9c7b84"), "pretender", ""},
		{"web-1", map[string]string{"statefulset.kubernetes.io/pod-name": "db-1"}, "web", ""},
		{"x-abc", map[string]string{"job-name": "y"}, "x-abc", ""},
		// only the form of the name
		{"api-6d5f9c7b84-x2x9q", nil, "api", ""},
		{"api-6d5f9c7b8-x2x9q", nil, "api", ""},
		{"proxy-k7x2p", nil, "proxy", ""},
		{"backup-28391230-x2x9q", nil, "backup", ""},
		{"db-0", nil, "db", ""},
		{"web-cache-x2x9q", nil, "web-cache", ""}, // cache has vowels, no hash has
		{"my-proxy", nil, "my-proxy", ""},
		{"release-2024", nil, "release", ""}, // an ordinal, as far as anybody can tell
		{"release-20240131", nil, "release-20240131", ""},
		{"single", nil, "single", ""},
		{"-0", nil, "-0", ""},
		{"-", nil, "-", ""},
	} {
		p := NewPod("u", "ns", c.name, c.labels, nil)
		if p.Workload != c.workload || p.Controller != c.controller {
			t.Errorf("%s %v: %q, %q; want %q, %q", c.name, c.labels, p.Workload, p.Controller, c.workload, c.controller)
		}
	}
	static := NewPod("202e73fe2f6f1fcdfba87c4503ed827e", "kube-system", "etcd-worker-1", nil, map[string]string{"kubernetes.io/config.source": "file"})
	if static.Workload != "etcd-worker-1" {
		t.Errorf("static pod: %+v", static)
	}
	if p := LabelledPod(map[string]string{"io.kubernetes.pod.name": "a", "io.kubernetes.pod.namespace": "b"}); p != (correlate.Pod{}) {
		t.Errorf("a pod without a UID: %+v", p)
	}
}

// What one Deployment is called must not depend on which of its pods is asked.
func TestReplacedPodsKeepTheirName(t *testing.T) {
	for i := range 50 {
		suffix, hash := suffixOf(i, 5), suffixOf(i/10, 10)
		for _, labels := range []map[string]string{nil, {"pod-template-hash": hash}} {
			if p := NewPod("u", "shop", "api-"+hash+"-"+suffix, labels, nil); p.Workload != "api" {
				t.Errorf("%s: %+v", p.Name, p)
			}
		}
	}
}

func suffixOf(i, n int) string {
	b := []byte(strings.Repeat("x", n))
	b[0], b[1] = alphabet[i%len(alphabet)], alphabet[i/len(alphabet)%len(alphabet)]
	return string(b)
}

func FuzzNewPod(f *testing.F) {
	f.Add("u", "ns", "api-6d5f9c7b84-x2x9q", "pod-template-hash", "6d5f9c7b84")
	f.Add("u", "", "-", "job-name", "")
	f.Add("u", "ns", "x\x00\xff-0", "statefulset.kubernetes.io/pod-name", "x\x00\xff-0")
	f.Fuzz(func(t *testing.T, uid, ns, name, key, value string) {
		p := NewPod(uid, ns, name, map[string]string{key: value}, nil)
		for _, s := range []string{p.UID, p.Namespace, p.Name, p.Workload} {
			if len(s) > MaxLabel {
				t.Fatalf("%d octets kept", len(s))
			}
		}
		if p.Name != "" && (p.Workload == "" || !strings.HasPrefix(name, p.Workload)) {
			t.Fatalf("%q is a pod of %q", name, p.Workload)
		}
	})
}

func TestPodOfSandbox(t *testing.T) {
	s := NewStore(60e9, 10)
	box := &correlate.Container{ID: id(1), Sandbox: true, Pod: correlate.Pod{UID: "u", Name: "p"}}
	s.Put(box, 1)
	s.Put(&correlate.Container{ID: id(2), Name: "main", Pod: box.Pod}, 1)
	if got := s.Pod("u"); got != box {
		t.Errorf("%+v", got)
	}
	s.Remove(id(1), 2)
	if s.Pod("u") != box {
		t.Error("forgotten before its grace time was over")
	}
	again := &correlate.Container{ID: id(3), Sandbox: true, Pod: box.Pod} // the node restarted
	s.Put(again, 3)
	s.Expire(2 + 60e9)
	if got := s.Pod("u"); got != again {
		t.Errorf("%+v", got)
	}
	s.Remove(id(3), 4)
	s.Expire(4 + 60e9)
	if len(s.pods) != 0 {
		t.Errorf("kept for ever: %v", s.pods)
	}
}

// H3: one list tells that a pod is gone and that the next has its address.
func TestListEndsLeases(t *testing.T) {
	s := NewStore(60e9, 10)
	one, two := running(1, "one", "pod", "10.0.0.1"), running(2, "two", "pod", "10.0.0.1")
	one.Created, two.Created = 10, 30
	s.Replace([]Details{one}, 11)
	one.Running, one.Addresses = false, nil
	s.Replace([]Details{one, two}, 50)
	for when, want := range map[int64]int{9: 0, 10: 1, 29: 1, 30: 2, 49: 2, 60: 2} {
		if c := s.At(ip("10.0.0.1"), when); (c == nil) != (want == 0) || c != nil && c.ID != id(want) {
			t.Errorf("at %d: %+v, want %d", when, c, want)
		}
	}
}
