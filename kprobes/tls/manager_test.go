package tls

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weir-probe/weir/kprobes"
)

// none is a kernel that was told to load nothing.
type none struct{ selected map[kprobes.TLSGroup]bool }

func (none) UserProgram(string) *ebpf.Program { return nil }

func (n none) SelectTLS(g kprobes.TLSGroup, on bool) error {
	n.selected[g] = on
	return nil
}

// TestBounds: whatever is told, what waits is bounded, in order, and counted where
// it is left out.
func TestBounds(t *testing.T) {
	m := New(Config{}, none{map[kprobes.TLSGroup]bool{}})
	for range maxStarted + 5 {
		m.Started(1, 2, 3)
	}
	if n := m.Stats().Missed; n != 5 {
		t.Errorf("%d of 5 starts are counted as missed", n)
	}
	at := time.Unix(1000, 0)
	for i := range maxLater + 7 {
		m.put(look{pid: uint32(i), at: at.Add(time.Duration(i*7919%1000) * time.Second)})
	}
	if n := m.Stats().Missed; n != 12 || len(m.later) != maxLater {
		t.Errorf("%d wait, %d are missed", len(m.later), n)
	}
	for i := 1; i < len(m.later); i++ {
		if m.later[i].at.Before(m.later[i-1].at) {
			t.Fatalf("the %dth comes before the one before it", i)
		}
	}
	for i := range 3 { // nobody reads them: the newest counts, nobody waits
		m.Select([]Group{{ID: kprobes.TLSGroup{ID: uint64(i)}}})
	}
	if g := <-m.wanted; len(g) != 1 || g[0].ID.ID != 2 {
		t.Errorf("selected %+v", g)
	}
}

// TestSelection: the kernel is told of what changes only.
func TestSelection(t *testing.T) {
	k := none{map[kprobes.TLSGroup]bool{}}
	m := New(Config{}, k)
	group := func(id uint64) Group { return Group{ID: kprobes.TLSGroup{ID: id}, Dir: t.TempDir()} }
	m.choose([]Group{group(1), group(2)})
	m.choose([]Group{group(2), group(3)})
	for id, want := range map[uint64]bool{1: false, 2: true, 3: true} {
		if got, ok := k.selected[kprobes.TLSGroup{ID: id}]; !ok || got != want {
			t.Errorf("group %d: selected %v, want %v", id, got, want)
		}
	}
	if len(m.groups) != 2 || m.Stats().Errors != 0 {
		t.Errorf("%d groups, %+v", len(m.groups), m.Stats())
	}
	if err := m.close(); err != nil || len(m.groups) != 0 || k.selected[kprobes.TLSGroup{ID: 2}] || k.selected[kprobes.TLSGroup{ID: 3}] {
		t.Errorf("after the end %v, %v", k.selected, err)
	}
}
