package tls

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
)

// BenchmarkKernelCost measures what a request over a kept HTTPS connection takes at
// one client that is not looked into, with and without probes in the server: nginx
// (OpenSSL) and net/http. Each has one read and one or two writes per request. The
// third figure is a server with the same library in a group that is not selected.
func BenchmarkKernelCost(b *testing.B) {
	program := goProgram(b, "0", "-ldflags=-s -w")
	for _, server := range []string{"openssl", "go"} {
		for _, mode := range []string{"off", "selected", "beside"} {
			b.Run(server+"/"+mode, func(b *testing.B) {
				f := open(b)
				group, beside := f.group, newGroup(b, "beside")
				run := func(g string) uint16 {
					if server == "go" {
						return f.serve(g, program)
					}
					return f.nginx(g)
				}
				var port uint16
				switch mode {
				case "off":
					port = run(beside)
				case "beside":
					port = run(beside)
					run(group)
				case "selected":
					port = run(group)
				}
				if mode != "off" {
					f.until("probes", func() bool { return len(f.m.Files()) > 0 })
				}
				b.ResetTimer()
				f.requests(b, port)
			})
		}
	}
}

// requests asks b.N times over one connection.
func (f *fixture) requests(b *testing.B, port uint16) {
	b.Helper()
	raw, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	defer c.Close()
	buf := make([]byte, 4096)
	for i := range b.N {
		if _, err := io.WriteString(c, "GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		if i%1024 == 0 {
			f.plain = f.plain[:0]
			if _, err := f.set.Drain(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}
