// Command workload makes traffic whose truth it knows: each process writes one
// JSON line per connection with what really happened, for a checker to compare
// with what Weir says. It is static, so that a container image needs nothing else.
//
//	workload server -tcp :9000 -udp :9001 -log FILE
//	workload client -addr HOST:PORT -n 10 -send 1000 -recv 5000 -log FILE
//	workload spawn  -addr HOST:PORT -n 200 -rate 200 -log FILE
//
// A request is a header of two big-endian uint32 (octets that follow, octets
// wanted back) and a body.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Truth is one connection as one end lived it.
type Truth struct {
	Role     string `json:"role"` // client or server
	Proto    string `json:"proto"`
	PID      int    `json:"pid"`
	Local    string `json:"local"`
	Remote   string `json:"remote"`
	Sent     int    `json:"sent"`
	Received int    `json:"received"`
	Start    int64  `json:"start"` // unix ns
	End      int64  `json:"end"`
	Err      string `json:"err,omitempty"`
}

type logger struct {
	mu sync.Mutex
	f  *os.File
}

func (l *logger) add(t Truth) {
	t.PID, t.End = os.Getpid(), time.Now().UnixNano()
	line, _ := json.Marshal(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.f.Write(append(line, '\n')) // O_APPEND: one write per line, many processes
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: workload server|client|spawn [flags]"))
	}
	fs := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var (
		tcp   = fs.String("tcp", "", "listen for TCP")
		udp   = fs.String("udp", "", "listen for UDP")
		addr  = fs.String("addr", "", "server to talk to")
		proto = fs.String("proto", "tcp", "tcp or udp")
		n     = fs.Int("n", 1, "connections (spawn: processes)")
		rate  = fs.Float64("rate", 0, "connections per second, 0 = as fast as it goes")
		send  = fs.Int("send", 1000, "octets per request")
		recv  = fs.Int("recv", 5000, "octets per reply")
		reqs  = fs.Int("requests", 1, "requests per connection")
		par   = fs.Int("parallel", 1, "connections at a time")
		path  = fs.String("log", "/dev/stdout", "where the truth goes")
		hold  = fs.Duration("hold", 0, "client: keep each connection open after its last reply")
		pause = fs.Duration("pause", 0, "client: between the requests of a connection")
		wait  = fs.Duration("linger", 0, "client: keep running after the last connection")
	)
	fs.Parse(os.Args[2:])
	f, err := os.OpenFile(*path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		fail(err)
	}
	l := &logger{f: f}
	switch os.Args[1] {
	case "server":
		serve(l, *tcp, *udp)
	case "client":
		paced(*n, *rate, *par, func(int) { client(l, *proto, *addr, *send, *recv, *reqs, *pause, *hold) })
		time.Sleep(*wait)
	case "spawn":
		self, _ := os.Executable()
		paced(*n, *rate, *par, func(i int) {
			cmd := exec.Command(self, "client", "-proto", *proto, "-addr", *addr, "-log", *path,
				"-send", strconv.Itoa(*send+i%100), "-recv", strconv.Itoa(*recv))
			cmd.Stderr = os.Stderr
			if err := cmd.Run(); err != nil {
				l.add(Truth{Role: "spawn", Err: err.Error()})
			}
		})
	default:
		fail(fmt.Errorf("no such role %q", os.Args[1]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "workload:", err)
	os.Exit(1)
}

// paced calls f n times, at most par at once, rate per second.
func paced(n int, rate float64, par int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, par)
	start := time.Now()
	for i := range n {
		if rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(i) / rate * float64(time.Second)))))
		}
		slots <- struct{}{}
		wg.Add(1)
		go func() { defer wg.Done(); f(i); <-slots }()
	}
	wg.Wait()
}

func client(l *logger, proto, addr string, send, recv, reqs int, pause, hold time.Duration) {
	t := Truth{Role: "client", Proto: proto, Remote: addr, Start: time.Now().UnixNano()}
	c, err := net.DialTimeout(proto, addr, 5*time.Second)
	if err != nil {
		t.Err = err.Error()
		l.add(t)
		return
	}
	t.Local, t.Remote = c.LocalAddr().String(), c.RemoteAddr().String()
	buf := make([]byte, 8+send)
	binary.BigEndian.PutUint32(buf, uint32(send))
	binary.BigEndian.PutUint32(buf[4:], uint32(recv))
	in := make([]byte, max(recv, 1))
	for i := range reqs {
		if i > 0 {
			time.Sleep(pause)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		w, err := c.Write(buf)
		t.Sent += w
		if err == nil && strings.HasPrefix(proto, "udp") {
			var r int
			r, err = c.Read(in)
			t.Received += r
		} else if err == nil {
			var r int
			r, err = io.ReadFull(c, in[:recv])
			t.Received += r
		}
		if err != nil {
			t.Err = err.Error()
			break
		}
	}
	time.Sleep(hold)
	c.Close()
	l.add(t)
}

func serve(l *logger, tcp, udp string) {
	var wg sync.WaitGroup
	if tcp != "" {
		ln, err := net.Listen("tcp", tcp)
		if err != nil {
			fail(err)
		}
		wg.Add(1)
		go func() { defer wg.Done(); serveTCP(l, ln) }()
	}
	if udp != "" {
		pc, err := net.ListenPacket("udp", udp)
		if err != nil {
			fail(err)
		}
		wg.Add(1)
		go func() { defer wg.Done(); serveUDP(pc) }()
	}
	fmt.Fprintln(os.Stderr, "workload: serving")
	wg.Wait()
}

func serveTCP(l *logger, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			fail(err)
		}
		go func() {
			t := Truth{Role: "server", Proto: "tcp", Local: c.LocalAddr().String(), Remote: c.RemoteAddr().String(), Start: time.Now().UnixNano()}
			var head [8]byte
			for {
				r, err := io.ReadFull(c, head[:])
				t.Received += r
				if err != nil {
					break
				}
				n, _ := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:])))
				t.Received += int(n)
				w, err := c.Write(make([]byte, binary.BigEndian.Uint32(head[4:])))
				t.Sent += w
				if err != nil {
					t.Err = err.Error()
					break
				}
			}
			c.Close()
			l.add(t)
		}()
	}
}

func serveUDP(pc net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			fail(err)
		}
		if n >= 8 {
			pc.WriteTo(make([]byte, min(binary.BigEndian.Uint32(buf[4:]), 60000)), from)
		}
	}
}
