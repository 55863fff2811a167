package bpf

import (
	"github.com/cilium/ebpf/btf"
)

// ConntrackTypes says why a packet's conntrack entry cannot be read by a program,
// "" when it can, and returns the types of the nf_conntrack module where they are
// only there: CollectionOptions.Programs.ExtraRelocationTargets.
func ConntrackTypes() (extra []*btf.Spec, why string) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
	}
	if _, err := kernel.AnyTypeByName("bpf_cast_to_kern_ctx"); err != nil {
		return nil, "needs Linux 6.2 (kfunc bpf_cast_to_kern_ctx)"
	}
	var conn *btf.Struct
	if kernel.TypeByName("nf_conn", &conn) == nil {
		return nil, ""
	}
	module, err := btf.LoadKernelModuleSpec("nf_conntrack")
	if err != nil {
		return nil, "the nf_conntrack module was not loaded when weir started"
	}
	return []*btf.Spec{module}, ""
}
