package cases

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/probe"
)

// beResolver answers questions by their id: each fifth not at all, the one before
// with NXDOMAIN, all others with an empty answer.
func beResolver(args []string) error {
	c, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr().(*net.UDPAddr).Port)
	b := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		id := uint16(b[0])<<8 | uint16(b[1])
		if id%5 == 4 {
			continue
		}
		time.Sleep(3 * time.Millisecond)
		b[2], b[3] = 0x81, 0x80
		if id%5 == 3 {
			b[3] |= 3
		}
		if _, err := c.WriteTo(b[:n], from); err != nil {
			return err
		}
	}
}

// resolve asks ADDRESS for 50 names from one socket and keeps it open until its
// standard input ends.
func resolve(args []string) error {
	c, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	b := make([]byte, 512)
	for id := range 50 {
		kind := byte(1)
		if id%2 == 1 {
			kind = 28
		}
		q := append([]byte{0, byte(id)}, "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00"...)
		if _, err := c.Write(append(q, kind, 0, 1)); err != nil {
			return err
		}
		if id%5 != 4 {
			if _, err := c.Read(b); err != nil {
				return err
			}
		}
	}
	fmt.Println("asked")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Questions over UDP: each is counted once, by type and answer, the unanswered ones
// once the socket is closed.
func TestL7_DNS(t *testing.T) {
	_, rows := own(t) // in which the port is not past the 64 that a server has by name
	b := newPair(t, 78)
	server := spawn(t, b.far, "resolver", b.there+":0")
	port := server.number()
	client := spawn(t, b.near, "resolve", fmt.Sprintf("%s:%d", b.there, port))
	client.hears("asked")
	client.stdin.Close()
	client.ended()
	mine := func(x row) bool { return x.tag("server_port") == fmt.Sprint(port) && x.time >= b.made }
	count := func() (all, unanswered int64, by map[string]int64) {
		by = map[string]int64{}
		for _, x := range rows.all(t, "l7", mine) {
			all += x.num("requests")
			unanswered += max(x.num("unanswered"), 0)
			by[x.tag("operation")+" "+x.tag("status")] += x.num("requests")
		}
		return all, unanswered, by
	}
	probe.Until(t, patience, "50 questions in l7", func() error {
		if n, _, by := count(); n < 50 {
			return fmt.Errorf("%d so far: %v", n, by)
		}
		return nil
	})
	rows.settle(t)
	all, unanswered, by := count()
	if all != 50 || unanswered != 10 || by["A NOERROR"] != 15 || by["AAAA NOERROR"] != 15 || by["A NXDOMAIN"] != 5 || by["AAAA NXDOMAIN"] != 5 {
		t.Errorf("%d questions, %d unanswered: %v", all, unanswered, by)
	}
	for _, x := range rows.final(t, 1, both(b.mine, serverPort(port))) {
		want(t, x, map[string]any{"requests": 50, "response_count": 40, "l7": "dns"})
		if sum, _ := x.fields["response_sum_seconds"].(float64); sum < 40*0.003 {
			t.Errorf("40 answers took %v s in all, the server slept %v s", sum, 40*0.003)
		}
	}
}
