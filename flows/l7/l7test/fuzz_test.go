package l7test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
)

// TestSeed: a fuzzer begins with the conversations it is given, holes included.
func TestSeed(t *testing.T) {
	want := Talk(C("hello"), Hole(l7.ToServer, 700), C(""), S("answer"), Hole(l7.ToClient, -1), S(string(make([]byte, 1<<16-1))), S("x"), C("bye"))
	got := invented(seed(want))
	want = Talk(append(want[:2:2], want[3:]...)...) // what is empty says nothing
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := invented(seed([]Chunk{C(string(make([]byte, 1<<16)))})); len(got) != 2 || octets(got) != 1<<16 {
		t.Errorf("a long chunk: %d chunks of %d octets", len(got), octets(got))
	}
}
