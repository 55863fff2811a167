package machine_test

import (
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

func TestAddressesAreApart(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		a := machine.FreeAddress(t)
		if seen[a] {
			t.Errorf("%s is given twice", a)
		}
		seen[a] = true
	}
}
