package kprobes

import (
	"reflect"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/weir-probe/weir/bpf"
)

// TestWireLayout compares the Go structs with what the compiler made of wire.h.
func TestWireLayout(t *testing.T) {
	specs := make(map[string]*btf.Spec)
	for name, get := range map[string]func() (*ebpf.CollectionSpec, error){"socket": bpf.LoadSocket, "process": bpf.LoadProcess, "l7": bpf.LoadL7, "drop": bpf.LoadDrop, "tls": bpf.LoadTls} {
		spec, err := get()
		if err != nil {
			t.Fatal(err)
		}
		specs[name] = spec.Types
	}
	for _, c := range []struct {
		object, name string
		goType       any
		tail         uint32 // octets of data the Go struct leaves out
	}{
		{"socket", "rec_hdr", wireHeader{}, 0},
		{"socket", "owner", wireOwner{}, 0},
		{"socket", "sock_rec", wireSock{}, 0},
		{"socket", "dgram_rec", wireDatagram{}, 0},
		{"socket", "bound_rec", wireBound{}, 0},
		{"socket", "nat_tuple", wireTuple{}, 0},
		{"socket", "nat_rec", wireNAT{}, 0},
		{"socket", "peer_key", peerKey{}, 0},
		{"socket", "peer_val", peerValue{}, 0},
		{"socket", "half_open", halfOpen{}, 0},
		{"drop", "drop_key", dropKey{}, 0},
		{"drop", "drop_val", dropValue{}, 0},
		{"l7", "l7_rec", wirePayload{}, 0},
		{"tls", "tls_group", TLSGroup{}, 0},
		{"process", "proc_rec", wireProc{}, 1024},
		{"process", "cgroup_rec", wireCgroup{}, cgroupPathMax},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cs *btf.Struct
			if err := specs[c.object].TypeByName(c.name, &cs); err != nil {
				t.Fatal(err)
			}
			gt := reflect.TypeOf(c.goType)
			if uint32(gt.Size())+c.tail != cs.Size {
				t.Errorf("Go has %d octets, C %d", gt.Size(), cs.Size)
			}
			members := cs.Members
			if c.tail != 0 {
				members = members[:len(members)-1]
			}
			if gt.NumField() != len(members) {
				t.Fatalf("Go has %d members, C %d", gt.NumField(), len(members))
			}
			for i, m := range members {
				f := gt.Field(i)
				size, err := btf.Sizeof(m.Type)
				if err != nil {
					t.Fatal(err)
				}
				if uint32(f.Offset) != m.Offset.Bytes() || int(f.Type.Size()) != size {
					t.Errorf("%s at %d (%d octets) is %s at %d (%d octets) in C", f.Name, f.Offset, f.Type.Size(), m.Name, m.Offset.Bytes(), size)
				}
			}
		})
	}
}

// TestStatsOrder: the Go counters are as many as enum stat has.
func TestStatsOrder(t *testing.T) {
	spec, err := bpf.LoadSocket()
	if err != nil {
		t.Fatal(err)
	}
	if n := spec.Maps["stats"].MaxEntries; n != kernelStats {
		t.Errorf("the kernel has %d counters, Go %d", n, kernelStats)
	}
	var st Stats
	for i, p := range st.kernel() {
		*p = uint64(i + 1)
	}
	v := reflect.ValueOf(st)
	for i := range kernelStats {
		if v.Field(i).Uint() != uint64(i+1) {
			t.Errorf("%s is out of order", v.Type().Field(i).Name)
		}
	}
}
