package http1

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

// hosts are the server names that a parser tells, in the order of the answers.
func hosts(t *testing.T, script string) []string {
	var told []string
	p := New(func(m *l7.Message) { told = append(told, string(m.Host)) })
	l7test.Feed(p, l7test.Script(t, script))
	p.End(l7test.Start)
	return told
}

func TestHost(t *testing.T) {
	const ok = "\n< HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"of each request", "> GET / HTTP/1.1\\r\\nhost:  Shop.Example.org:8080\\r\\n\\r\\n" + ok + "> GET / HTTP/1.0\\r\\n\\r\\n" + ok, []string{"shop.example.org", ""}},
		{"pipelined", "> GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: b\\r\\n\\r\\n" + ok + ok, []string{"a", "b"}},
		{"twice: the first", "> GET / HTTP/1.1\\r\\nHost: a\\r\\nHost: b\\r\\n\\r\\n" + ok, []string{"a"}},
		{"no name", "> GET / HTTP/1.1\\r\\nHost: <script>\\r\\n\\r\\n" + ok, []string{""}},
		{"of the server", "> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n", []string{""}},
		{"in a hole", "> GET / HTTP/1.1\\r\\nHost: shop.exa\n> ...20" + ok, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := hosts(t, c.script); !slices.Equal(got, c.want) {
				t.Errorf("hosts %q, want %q", got, c.want)
			}
		})
	}
}

// TestHostsAreBounded asks one connection for more names than it keeps.
func TestHostsAreBounded(t *testing.T) {
	names := map[string]int{}
	p := New(func(m *l7.Message) { names[string(m.Host)]++ })
	for i := range 2 * maxHosts {
		for d, s := range []string{fmt.Sprintf("GET / HTTP/1.1\r\nHost: h%d\r\n\r\n", i), "HTTP/1.1 204 No Content\r\n\r\n"} {
			p.Data(&l7.Chunk{Dir: l7.Dir(d), Turn: true, Time: int64(i + 1), Data: []byte(s)})
		}
	}
	if len(names) != maxHosts+1 || names[""] != maxHosts || names["h0"] != 1 {
		t.Errorf("%d names, %d requests without", len(names), names[""])
	}
}
