package faults

import (
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// server accepts connections, reads them to their end and closes them.
type server struct {
	ln   net.Listener
	port int
}

func listen(t *testing.T) *server {
	t.Helper()
	return listenAt(t, "127.0.0.1:0")
}

func listenAt(t *testing.T, addr string) *server {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	netlab.Accept(t, ln, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	return &server{ln, ln.Addr().(*net.TCPAddr).Port}
}

// connect makes n connections, one after the other, complete to the last FIN,
// and returns their client ports.
func (s *server) connect(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		c := s.dial(t)
		ports = append(ports, c.LocalAddr().(*net.TCPAddr).Port)
		finish(t, c)
	}
	return ports
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// finish sends ten octets, ends, and waits for the other end to have ended.
func finish(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if _, err := c.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
}

// ended returns how many rows of flow_log tell the end of each client port's
// connection to the server, in the order of the lines.
func (s *server) ended(lines string) (order []int, count map[int]int) {
	count = map[int]int{}
	for line := range strings.Lines(lines) {
		if !strings.HasPrefix(line, "flow_log,") || !strings.Contains(line, ",end_reason=end,") || field(line, "server_port") != s.port {
			continue
		}
		p := field(line, "client_port")
		order = append(order, p)
		count[p]++
	}
	return order, count
}

// field returns an integer field or tag of a row, -1 where there is none.
func field(line, name string) int {
	i := strings.Index(line, name+"=")
	if i < 0 || !strings.ContainsRune(" ,", rune(line[i-1])) {
		return -1
	}
	v := line[i+len(name)+1:]
	v = v[:strings.IndexAny(v, "i, \n")]
	n, err := strconv.Atoi(v)
	if err != nil {
		return -1
	}
	return n
}

// exactlyOnce wants one row of the end of each of the connections in the lines.
// ports are all that were made to the server while the probe ran: the kernel
// gives a client port again before long.
func (s *server) exactlyOnce(t *testing.T, lines string, ports []int) {
	t.Helper()
	_, count := s.ended(lines)
	var missing, extra []int
	for _, p := range ports {
		count[p]--
	}
	for p, n := range count {
		if n < 0 {
			missing = append(missing, p)
		} else if n > 0 {
			extra = append(extra, p)
		}
	}
	if len(missing) > 0 {
		t.Errorf("of %d connections %d have no row, e.g. from port %d", len(ports), len(missing), missing[0])
	}
	if len(extra) == 0 {
		return
	}
	var rows strings.Builder
	for line := range strings.Lines(lines) {
		if strings.HasPrefix(line, "flow_log,") && field(line, "client_port") == extra[0] && field(line, "server_port") == s.port {
			rows.WriteString(line)
		}
	}
	t.Errorf("%d connections have a row too many, e.g.\n%s", len(extra), &rows)
}

// has waits until all the ports have ended in the file.
func (s *server) has(t *testing.T, path string, ports []int) {
	t.Helper()
	until(t, "the connections' rows in "+path, func() bool {
		return s.contains(read(path), ports)
	})
}

// contains says whether the end of every connection is there.
func (s *server) contains(lines string, ports []int) bool {
	_, count := s.ended(lines)
	for _, p := range ports {
		count[p]--
	}
	return !slices.ContainsFunc(ports, func(p int) bool { return count[p] < 0 })
}

func read(path string) string {
	b, _ := os.ReadFile(path) // not there yet: empty
	return string(b)
}
