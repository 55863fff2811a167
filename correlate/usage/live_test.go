package usage

import (
	"fmt"
	"os"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// liveGroups makes n control groups in the hierarchies of this host.
func liveGroups(t testing.TB, n int) (*Sampler, []Group) {
	t.Helper()
	machine.Root(t, "makes control groups")
	l, err := FindLayout("/proc")
	if err != nil {
		t.Skip(err)
	}
	top := fmt.Sprintf("/weir-usage-%d", os.Getpid())
	mkdir := func(path string) {
		for i := range l.of {
			dir, ok := l.of[i].appendPath(nil, path)
			if !ok {
				continue
			}
			if err := os.Mkdir(string(dir), 0o755); err != nil && !os.IsExist(err) {
				t.Skipf("control groups cannot be made here: %v", err)
			}
			t.Cleanup(func() { _ = os.Remove(string(dir)) }) // shared hierarchies: the second finds nothing
		}
	}
	mkdir(top)
	var groups []Group
	for i := range n {
		groups = append(groups, Group{Path: fmt.Sprintf("%s/%d", top, i)})
		mkdir(groups[i].Path)
	}
	return New(Config{Layout: l}), groups
}

// The kernel's own files can all be read, and those of nobody count nothing.
func TestLive(t *testing.T) {
	s, groups := liveGroups(t, 3)
	round(s, 1, groups...)
	r := round(s, 2, groups...)
	if len(r.Samples) != len(groups) || r.Stats.Garbage != 0 || r.Stats.Unreadable != 0 || r.Stats.Ended != 0 {
		t.Fatalf("%+v", r)
	}
	for _, x := range r.Samples {
		if !x.Has(CPUUser) || x.Get(CPUUser) != 0 || x.Get(OOMKills) != 0 || x.Get(PIDs) != 0 {
			t.Errorf("an empty group: %+v", x)
		}
	}
}

func BenchmarkLive300(b *testing.B) {
	s, groups := liveGroups(b, 300)
	b.ReportAllocs()
	for b.Loop() {
		r := s.Begin()
		r.Groups = append(r.Groups, groups...)
		s.read(r)
		if len(r.Samples) != len(groups) {
			b.Fatal(len(r.Samples))
		}
	}
}
