package cases

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// stalled is a database that takes writes and answers none until it is released.
type stalled struct {
	port    int
	release chan struct{}
	mu      sync.Mutex
	got     bytes.Buffer
}

func stall(t *testing.T, ns *netlab.NS) *stalled {
	t.Helper()
	s := &stalled{release: make(chan struct{})}
	var ln net.Listener
	ns.Do(t, func() (err error) {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	s.port = ln.Addr().(*net.TCPAddr).Port
	srv := &http.Server{Handler: s}
	go srv.Serve(ln) //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close() })
	return s
}

// ServeHTTP speaks as much of InfluxDB 1.8 as a writer needs.
func (s *stalled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Influxdb-Version", "1.8.10")
	defer w.WriteHeader(http.StatusNoContent)
	if !strings.HasSuffix(r.URL.Path, "/write") {
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	<-s.release
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got.Write(b)
	}
}

func (s *stalled) lines(measurement string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Count(append([]byte("\n"), s.got.Bytes()...), []byte("\n"+measurement+","))
}

// While a database takes nothing for seconds of load, every packet is counted,
// every row arrives later, and what weir sends itself is left out and accounted for.
func TestCaseE16_StalledSink(t *testing.T) {
	host, box := bridged(t, 18, 2)
	db := stall(t, host)
	l := openLedger(t, host, "--sink", "influxdb", "--influxdb-url", fmt.Sprint("http://127.0.0.1:", db.port), "--influxdb-bucket", "weir")
	port := echo(t, box[1], boxAddr(18, 1))
	for range 3 {
		requests(t, box[0], boxAddr(18, 1), port, 2000, 1000)
		manyFlows(t, box[0], boxAddr(18, 1), swallow(t, box[1], boxAddr(18, 1)), 3000, 100)
		l.rows.settle(t)
	}
	close(db.release)
	b := l.check(t)
	if b.lost != 0 {
		t.Errorf("%d octets lost", b.lost)
	}
	if n := l.flows(t, toPort(port), "to_server_bytes"); n != 3*2000*1000 {
		t.Errorf("%d octets of payload, want %d", n, 3*2000*1000)
	}
	if n := l.self(t, "sink", "own_bytes"); n == 0 {
		t.Error("nothing is said of what weir sent to the database")
	}
	if n := l.flows(t, toPort(db.port), "to_server_bytes", "to_server_wire_bytes"); n != 0 {
		t.Errorf("%d octets of weir's own traffic are in rows", n)
	}
	probe.Until(t, patience, "all rows in the database", func() error {
		if here, there := len(l.rows.all(t, "flow_log", every)), db.lines("flow_log"); there < here {
			return fmt.Errorf("%d of %d", there, here)
		}
		return nil
	})
}
