package docker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

func id(n int) string { return fmt.Sprintf("%064x", n) }

func TestOwnName(t *testing.T) {
	if got := ownName([]string{"/web/db", "/db"}); got != "/db" {
		t.Errorf("legacy link taken for the name: %s", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Type":"container","Action":"create","Actor":{"ID":"` + id(1) + `","Attributes":{"name":"n","image":"i"}},"timeNano":5}`))
	f.Add([]byte(`{"Type":"network","Action":"connect","Actor":{"ID":"x","Attributes":{"container":"` + id(1) + `"}}}`))
	f.Add([]byte(`[{"Id":"` + id(1) + `","Names":["/a"],"NetworkSettings":{"Networks":{"b":{"IPAddress":"1.2.3.4"}}}}]`))
	f.Add([]byte(`{"Id":"` + id(1) + `","Config":{"Labels":{"com.docker.compose.project":"p"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(Config{})
		inspects := make(chan inspection, 1)
		if e, err := decodeEvent(b); err == nil {
			c.apply(&e, inspects)
		}
		if list, err := decodeList(b); err == nil {
			c.Store.Replace(list, 10)
		}
		if d, err := decodeInspect(b); err == nil {
			c.Store.Put(d.Container, 1)
			c.Store.Refine(d, 5)
		}
		for key, kept := range c.Store.All() {
			if !engine.IsID(key) || len(kept.Name) > engine.MaxName || len(kept.Image) > engine.MaxImage {
				t.Fatalf("%q: kept %+v", b, kept)
			}
		}
		select {
		case i := <-inspects:
			if !engine.IsID(i.id) || strings.Contains(i.id, "/") {
				t.Fatalf("%q: would ask for %q", b, i.id)
			}
		default:
		}
	})
}
