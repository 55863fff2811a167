package tcx

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/weir-probe/weir/bpf"
)

// The Go structs must be laid out as the C compiler laid out theirs.
func TestWireLayout(t *testing.T) {
	spec, err := bpf.LoadFlow()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"flow_key": flowKey{}, "flow_dir": flowDir{}, "flow_val": flowVal{},
		"dev_key": devKey{}, "dev_sum": devSum{}, "dev_val": devVal{}, "flow_stat": flowStat{},
		"flow_event": eventHead{}, "flow_ended": flowEnded{}, "flow_nat": flowNat{}, "nat_tuple": natTuple{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Errorf("struct %s: %v", name, err)
			continue
		}
		g := reflect.TypeOf(v)
		if int(c.Size) != int(g.Size()) || len(c.Members) != g.NumField() {
			t.Errorf("struct %s: C has %d octets in %d members, Go %d in %d", name, c.Size, len(c.Members), g.Size(), g.NumField())
			continue
		}
		for i, m := range c.Members {
			f := g.Field(i)
			size, err := btf.Sizeof(m.Type)
			if err != nil {
				t.Fatal(err)
			}
			if m.Offset.Bytes() != uint32(f.Offset) || size != int(f.Type.Size()) {
				t.Errorf("%s.%s: offset %d size %d, Go %s offset %d size %d", name, m.Name, m.Offset.Bytes(), size, f.Name, f.Offset, f.Type.Size())
			}
			want := strings.ReplaceAll(m.Name, "_", "")
			if f.Name != "_" && !strings.EqualFold(want, f.Name) {
				t.Errorf("%s: member %d is %s in C, %s in Go", name, i, m.Name, f.Name)
			}
		}
	}
}

func TestMapLimits(t *testing.T) {
	spec, err := bpf.LoadFlow()
	if err != nil {
		t.Fatal(err)
	}
	if got := spec.Maps["flow_table"].MaxEntries; got != DefaultConfig().MaxFlows {
		t.Errorf("flow_table has %d entries in C, %d in DefaultConfig", got, DefaultConfig().MaxFlows)
	}
}
