package dns

import (
	"strings"

	"github.com/weir-probe/weir/flows"
)

// Service returns the Kubernetes service that an address was, in a namespace, when a
// connection to it began (unix ns): the one that was asked for. "" where nobody asked for
// a service there, or too many names are shown.
func (t *Table) Service(a flows.Addr, netns uint32, began int64) string {
	s := serviceOf(t.Name(a, netns, began))
	if s == "" || !t.Show(s, began) {
		return ""
	}
	return s
}

// serviceOf is the service in a name of a cluster's, [what.]SERVICE.NAMESPACE.svc.ZONE
// (github.com/kubernetes/dns, docs/specification.md); "" of any other name.
func serviceOf(name string) string {
	in, zone, ok := strings.Cut(name, ".svc.")
	if !ok || zone == "" {
		return ""
	}
	i := strings.LastIndexByte(in, '.')
	if i <= 0 || i == len(in)-1 {
		return ""
	}
	in = in[:i]
	return in[strings.LastIndexByte(in, '.')+1:]
}
