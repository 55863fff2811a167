package tls

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// serve runs a Go program that serves HTTPS in a control group; it returns its port.
func (f *fixture) serve(group, program string) uint16 {
	f.t.Helper()
	cert, key := certificate(f.t, f.t.TempDir())
	cmd := within(f.t, group, exec.Command(program, "serve", cert, key))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		f.t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	port, err := strconv.ParseUint(strings.TrimSpace(line), 10, 16)
	if err != nil {
		f.t.Fatal(err)
	}
	return uint16(port)
}

// ask has a Go program ask for paths, n times.
func (f *fixture) ask(group, program, url string, n int, paths ...string) {
	f.t.Helper()
	cmd := within(f.t, group, exec.Command(program, append([]string{"ask", url, strconv.Itoa(n)}, paths...)...))
	done := make(chan struct{})
	var out []byte
	var err error
	go func() {
		defer close(done)
		out, err = cmd.CombinedOutput()
	}()
	f.until("end of the questions", func() bool { // the ring holds less than is written meanwhile
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	if err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
}

// TestLiveGo: what a Go program reads and writes by crypto/tls is told, whole, of
// its own socket and once; whatever was stripped from it.
func TestLiveGo(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			program := goProgram(t, b.cgo, b.args...)
			f := open(t)
			port := f.serve(f.group, program)
			f.until("probes in the program", func() bool { return f.has(Go, "/server") })
			const times = 50
			url := fmt.Sprintf("https://127.0.0.1:%d", port)
			f.ask(newGroup(t, "other"), program, url, times, "/ok", "/gone", "/big")
			f.until("answers", func() bool { return strings.Count(f.text(port, true), "HTTP/1.1 ") >= 3*times })
			in, out := f.text(port, false), f.text(port, true)
			for what, n := range map[string]int{
				"GET /ok HTTP/1.1\r\n": strings.Count(in, "GET /ok HTTP/1.1\r\n"), "GET /gone HTTP/1.1\r\n": strings.Count(in, "GET /gone HTTP/1.1\r\n"),
				"410 Gone": strings.Count(out, "HTTP/1.1 410 Gone\r\n"), "fine": strings.Count(out, "\r\n\r\nfine\n"),
			} {
				if n != times {
					t.Errorf("%q is told %d times, want %d", what, n, times)
				}
			}
			f.whole(port, times*(1<<20))
		})
	}
}

// TestLiveGoClient: of a client that is looked into, and of HTTP/2, where reading
// and writing are two goroutines' business.
func TestLiveGoClient(t *testing.T) {
	program := goProgram(t, "0", "-ldflags=-s -w")
	f := open(t)
	other := newGroup(t, "other")
	port := f.serve(other, program)
	keep := f.serve(f.group, program) // so that the probes are there when the client comes
	f.until("probes in the program", func() bool { return f.has(Go, "/server") })
	url := fmt.Sprintf("127.0.0.1:%d", port)
	f.ask(f.group, program, "https://"+url, 20, "/ok")
	f.until("answers", func() bool { return f.count(port, false, "HTTP/1.1 200 OK") >= 20 })
	if n := f.count(port, true, "GET /ok HTTP/1.1\r\n"); n != 20 {
		t.Errorf("%d questions", n)
	}
	// Each question is told before its answer.
	balance := 0
	for _, e := range f.plain {
		balance += strings.Count(string(e.Data), "GET /ok") - strings.Count(string(e.Data), "HTTP/1.1 200")
		if balance < 0 || balance > 1 {
			t.Fatalf("question and answer out of order: %d", balance)
		}
	}
	before := len(f.plain)
	f.ask(f.group, program, "h2:https://"+url, 20, "/ok")
	f.until("answers by HTTP/2", func() bool { return strings.Count(f.remote(port, false, before), "fine\n") >= 20 })
	if q := f.remote(port, true, before); !strings.HasPrefix(q, "PRI * HTTP/2.0\r\n") {
		t.Errorf("HTTP/2 begins with %.30q", q)
	}
	for _, e := range f.plain {
		if e.Key.DstPort != port {
			t.Errorf("%+v is of another connection; %d is looked into and silent", e, keep)
		}
	}
}

// remote is what was told of sockets connected to port, from the n'th event on.
func (f *fixture) remote(port uint16, out bool, n int) string {
	var b strings.Builder
	for _, e := range f.plain[n:] {
		if e.Key.DstPort == port && e.Out == out {
			b.Write(e.Data)
		}
	}
	return b.String()
}

func (f *fixture) count(port uint16, out bool, what string) int {
	return strings.Count(f.remote(port, out, 0), what)
}

// whole checks that nothing is missing of the one connection of a server, which
// wrote at least so much.
func (f *fixture) whole(port uint16, written uint64) {
	f.t.Helper()
	var octets [2]uint64
	cookies := map[uint64]bool{}
	for _, e := range f.plain {
		d := 0
		if e.Out {
			d = 1
		}
		if e.Key.SrcPort != port || e.Seq != uint32(octets[d]) {
			f.t.Errorf("octet %d follows %d, of port %d", e.Seq, octets[d], e.Key.SrcPort)
		}
		octets[d] += uint64(e.Len)
		cookies[e.Cookie] = true
	}
	if len(cookies) != 1 || octets[1] < written {
		f.t.Errorf("%d connections, %d octets written, at least %d to be", len(cookies), octets[1], written)
	}
	if st := f.set.TLSStats(); st.Unbound != 0 || st.Unreadable != 0 || st.Bound != 1 || st.Octets != octets[0]+octets[1] {
		f.t.Errorf("%+v", st)
	}
}
