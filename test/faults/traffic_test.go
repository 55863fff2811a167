package faults

import (
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// server accepts connections, reads them to their end and closes them.
type server struct {
	ln   net.Listener
	port int
}

func listen(t *testing.T) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
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

// attempts sums a field of the edge rows to the server's port. Its port may be
// written as ephemeral: rows of other servers on such ports must not be there.
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

// exactlyOnce wants one end of each of the ports in the lines.
func (s *server) exactlyOnce(t *testing.T, lines string, ports []int) {
	t.Helper()
	_, count := s.ended(lines)
	var missing, twice []int
	for _, p := range ports {
		switch n := count[p]; {
		case n == 0:
			missing = append(missing, p)
		case n > 1:
			twice = append(twice, p)
		}
	}
	if len(missing)+len(twice) > 0 {
		t.Errorf("of %d connections %d have no row (%v), %d more than one (%v)", len(ports), len(missing), head(missing), len(twice), head(twice))
	}
}

func head(p []int) []int { return slices.Clone(p[:min(len(p), 10)]) }

// has waits until all the ports have ended in the file.
func (s *server) has(t *testing.T, path string, ports []int) {
	t.Helper()
	until(t, "the connections' rows in "+path, func() bool {
		_, count := s.ended(read(path))
		return !slices.ContainsFunc(ports, func(p int) bool { return count[p] == 0 })
	})
}

func read(path string) string {
	b, _ := os.ReadFile(path) // not there yet: empty
	return string(b)
}
