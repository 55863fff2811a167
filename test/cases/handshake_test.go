package cases

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
	"github.com/weir-probe/weir/test/probe"
)

// thinking is how long a slow client of TLS takes before it answers the server's flight.
const thinking = 30 * time.Millisecond

// slowConn is a client's connection whose second write comes late.
type slowConn struct {
	net.Conn
	writes int
}

func (c *slowConn) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 2 {
		time.Sleep(thinking)
	}
	return c.Conn.Write(b)
}

// serveOpenSSL runs openssl s_server and returns its port.
func serveOpenSSL(t *testing.T, cert, key string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	launch(t, nil, exec.Command("openssl", "s_server", "-accept", fmt.Sprintf("127.0.0.1:%d", port), "-cert", cert, "-key", key, "-www", "-quiet", "-alpn", "h2,http/1.1"))
	probe.Until(t, patience, "openssl s_server", func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err
	})
	return port
}

// expiry reads when a certificate expires, by another reader than the probe's.
func expiry(t *testing.T, path string) time.Time {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c.NotAfter
}

// shakeHands makes a connection, asks something over it, and returns how long it took
// from the start to the first octet of the answer.
func shakeHands(t *testing.T, port int, cfg *tls.Config) (time.Duration, error) {
	t.Helper()
	raw, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	start := time.Now()
	c := tls.Client(&slowConn{Conn: raw}, cfg)
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	if _, err := c.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return 0, err
	}
	_, err = c.Read(make([]byte, 1))
	return time.Since(start), err
}

// handshakes waits for n handshakes with a port in l7 and returns the rows.
func handshakes(t *testing.T, rows *rows, port, n int) []row {
	t.Helper()
	mine := func(x row) bool { return x.tag("server_port") == strconv.Itoa(port) && x.tag("l7") == "tls" }
	probe.Until(t, patience, fmt.Sprintf("%d handshakes in l7", n), func() error {
		var got int64
		for _, x := range rows.all(t, "l7", mine) {
			got += x.num("requests")
		}
		if got < int64(n) {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
	rows.settle(t)
	return rows.all(t, "l7", mine)
}

// Handshakes with real servers: version, server name, ALPN, the certificate's expiry
// and how long all of it took are what client and certificate say, in l7 and of each
// connection in flow_log. A client that is slow to answer makes the handshake slow,
// not the response.
func TestL7_Handshakes(t *testing.T) {
	needs(t, "openssl", "openssl")
	needs(t, "nginx", "nginx")
	_, rows := own(t)
	_, group := container(t, "shake")
	cert, key := secrets(t, t.TempDir())
	for _, s := range []struct {
		name string
		port int
		ends time.Time
	}{
		{"openssl", serveOpenSSL(t, cert, key), expiry(t, cert)},
		{"nginx", serveNginx(t, group), time.Time{}}, // whose certificate is its own
	} {
		for _, v := range []struct {
			version uint16
			name    string
			alpn    string // 1.2: what the server chose; 1.3: what the client offered first
		}{{tls.VersionTLS12, "TLS 1.2", "h2"}, {tls.VersionTLS13, "TLS 1.3", "http/1.1"}} {
			t.Run(s.name+" "+v.name, func(t *testing.T) {
				asked := s.name + "-" + strconv.Itoa(int(v.version)) + ".test"
				checkHandshakes(t, rows, s.port, v.name, asked, v.alpn, s.ends, &tls.Config{
					InsecureSkipVerify: true, ServerName: asked, MinVersion: v.version, MaxVersion: v.version, NextProtos: []string{"http/1.1", "h2"},
				})
			})
		}
	}
}

func checkHandshakes(t *testing.T, rows *rows, port int, version, asked, alpn string, ends time.Time, cfg *tls.Config) {
	const n = 5
	cfg.VerifyConnection = func(s tls.ConnectionState) error { // how the client knows when it expires
		if ends.IsZero() {
			ends = s.PeerCertificates[0].NotAfter
		}
		return nil
	}
	var waited time.Duration
	for range n {
		took, err := shakeHands(t, port, cfg)
		if took == 0 {
			t.Fatal(err)
		}
		waited += took
	}
	var count int64
	var took, responses float64
	for _, x := range handshakesOf(t, rows, port, n, asked) {
		want(t, x, fields{"operation": version, "status": "ok", "server_name": asked, "alpn": alpn, "errors": 0})
		count += x.num("handshake_count")
		sum, _ := x.fields["handshake_sum_seconds"].(float64)
		response, _ := x.fields["response_sum_seconds"].(float64)
		took, responses = took+sum, responses+response
		checkExpiry(t, x, version, ends)
		if left, ok := x.fields["certificate_left_seconds"].(float64); ok && math.Abs(left-float64(ends.UnixNano()-x.time)/1e9) > 1e-3 {
			t.Errorf("%v s are left until %v in %v", left, ends, x)
		}
	}
	if count != n || took < n*thinking.Seconds() || took > waited.Seconds() || responses > took-n*thinking.Seconds() {
		t.Errorf("%d handshakes took %v s (first answers %v s); the client waited %v s, of which it slept %v", count, took, responses, waited.Seconds(), n*thinking)
	}
	for _, x := range rows.final(t, n, both(serverPort(port), func(x row) bool { return x.str("server_name") == asked })) {
		want(t, x, fields{"tls_version": version, "alpn": alpn, "l7": "tls"})
		checkExpiry(t, x, version, ends)
		if s, _ := x.fields["handshake_seconds"].(float64); s < thinking.Seconds() {
			t.Errorf("the handshake took %v s, in %v", s, x)
		}
	}
}

func handshakesOf(t *testing.T, rows *rows, port, n int, asked string) (got []row) {
	t.Helper()
	for _, x := range handshakes(t, rows, port, n) {
		if x.tag("server_name") == asked {
			got = append(got, x)
		}
	}
	if len(got) == 0 {
		t.Fatalf("no row names %s", asked)
	}
	return got
}

// checkExpiry compares what a row says of the certificate: in TLS 1.3 it is encrypted.
func checkExpiry(t *testing.T, x row, version string, ends time.Time) {
	t.Helper()
	if at, told := x.fields["certificate_not_after"]; version == "TLS 1.3" && told || version != "TLS 1.3" && at != ends.UnixNano() {
		t.Errorf("the certificate expires at %v, want %d (not told in TLS 1.3) in %v", at, ends.UnixNano(), x)
	}
}

// Of QUIC the datagrams that a real client and a real server once exchanged are sent
// again, by real sockets: server name, ALPN and version are told, and why the server
// closed the connection at once.
func TestL7_QUICHandshakes(t *testing.T) {
	_, rows := own(t)
	for i, w := range []struct{ status, alpn string }{{"ok", "echo"}, {"no_application_protocol", "other"}} {
		t.Run(w.status, func(t *testing.T) {
			port := playAgain(t, l7test.Capture(t, "../../flows/l7/quic/testdata/echo.pcap")[i])
			for _, x := range rows.final(t, 1, serverPort(port)) {
				want(t, x, fields{"tls_version": "QUIC v1", "server_name": "quic.example.test", "alpn": w.alpn, "l7": "quic", "requests": 1})
				if _, told := x.fields["handshake_seconds"]; told || x.num("certificate_not_after") > 0 {
					t.Errorf("what is encrypted is told: %v", x)
				}
			}
			got := rows.all(t, "l7", func(x row) bool { return x.tag("l7") == "quic" && x.tag("status") == w.status })
			if len(got) != 1 {
				t.Fatalf("rows %v", got)
			}
			want(t, got[0], fields{"requests": 1, "operation": "QUIC v1", "alpn": "other", "server_name": "quic.example.test"}) // nobody has registered either
		})
	}
}

// playAgain sends the datagrams of a conversation, each when the one before has
// arrived, and returns the server's port.
func playAgain(t *testing.T, pieces []l7test.Chunk) int {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	b := make([]byte, 2048)
	for _, p := range pieces {
		var err error
		if p.Dir == l7.ToServer {
			_, err = client.Write(p.Data)
			if err == nil {
				_, err = server.Read(b)
			}
		} else {
			_, err = server.WriteTo(p.Data, client.LocalAddr())
			if err == nil {
				_, err = client.Read(b)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return server.LocalAddr().(*net.UDPAddr).Port
}

// Handshakes that fail are errors, by the name of the alert, whoever sent it.
func TestL7_TLSAlerts(t *testing.T) {
	needs(t, "openssl", "openssl")
	_, rows := own(t)
	cert, key := secrets(t, t.TempDir())
	for _, c := range []struct {
		status string
		sees   bool // the certificate
		cfg    *tls.Config
	}{
		{"bad_certificate", true, &tls.Config{ServerName: "localhost", MaxVersion: tls.VersionTLS12}}, // nobody it knows has signed it
		{"handshake_failure", false, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}},
		{"no_application_protocol", false, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"weir, \"not\" one"}}},
	} {
		t.Run(c.status, func(t *testing.T) {
			const n = 3
			port := serveOpenSSL(t, cert, key)
			for range n {
				if _, err := shakeHands(t, port, c.cfg); err == nil {
					t.Fatal("the handshake succeeded")
				}
			}
			var failed int64
			for _, x := range handshakes(t, rows, port, n) {
				want(t, x, fields{"status": c.status})
				if _, told := x.fields["certificate_not_after"]; told != c.sees || x.num("handshake_count") > 0 {
					t.Errorf("row %v", x)
				}
				failed += x.num("errors")
			}
			var inErrors int64
			for _, x := range rows.all(t, "flow_error", func(x row) bool { return x.tag("server_port") == strconv.Itoa(port) }) {
				inErrors += max(x.num("request_errors"), 0)
			}
			if failed != n || inErrors != n {
				t.Errorf("%d errors in l7, %d in flow_error, want %d", failed, inErrors, n)
			}
		})
	}
}
