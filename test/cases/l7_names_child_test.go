package cases

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// namesChildren are a resolver's slow front, and a client that looks up before it
// connects.
var namesChildren = map[string]func(args []string) error{"slowly": answerSlowly, "lookup": lookNamesUp}

// answerSlowly hands questions over UDP from args[0] on to the resolver at args[1],
// and its answers back args[2] ms after the question came. It prints "up" when the
// resolver answers.
func answerSlowly(args []string) error {
	ms, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	front, err := net.ListenPacket("udp4", args[0])
	if err != nil {
		return err
	}
	for first := []byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"); ; {
		if _, err := relay(args[1], first, 100*time.Millisecond); err == nil {
			break
		}
	}
	fmt.Println("up")
	for {
		b := make([]byte, 4096)
		n, from, err := front.ReadFrom(b)
		if err != nil {
			return err
		}
		came := time.Now()
		go func() {
			if answer, err := relay(args[1], b[:n], patience); err == nil {
				time.Sleep(time.Until(came.Add(time.Duration(ms) * time.Millisecond)))
				_, _ = front.WriteTo(answer, from) // who has gone does not wait
			}
		}()
	}
}

// relay asks a resolver.
func relay(resolver string, question []byte, limit time.Duration) ([]byte, error) {
	c, err := net.Dial("udp4", resolver)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	return b[:n], err
}

// lookNamesUp asks the resolver at args[0] as each further argument NAME:PORT/PROTO*COUNT
// says, and connects COUNT times, to each address of the answer in turn. It prints a
// line for each: how long the look-up took in ns, and the client's ports, 0 of an
// attempt that failed.
func lookNamesUp(args []string) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", args[0])
	}}
	for _, step := range args[1:] {
		name, rest, _ := strings.Cut(step, ":")
		to, times, _ := strings.Cut(rest, "*")
		port, proto, _ := strings.Cut(to, "/")
		n, err := strconv.Atoi(times)
		if err != nil {
			return err
		}
		began := time.Now()
		addrs, err := r.LookupNetIP(context.Background(), "ip4", name+".")
		if err != nil {
			return err
		}
		line := fmt.Sprint(time.Since(began).Nanoseconds())
		for i := range n {
			line += fmt.Sprint(" ", askOnce(proto, addrs[i%len(addrs)], port))
		}
		fmt.Println(line)
	}
	return nil
}

// askOnce sends an octet and waits for the answer's end; it returns the local port.
func askOnce(proto string, a netip.Addr, port string) int {
	c, err := net.Dial(proto, net.JoinHostPort(a.String(), port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0
	}
	defer c.Close()
	if _, err := c.Write([]byte{1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		return t.LocalAddr().(*net.TCPAddr).Port
	}
	_, _ = c.Read(make([]byte, 2048))
	return c.LocalAddr().(*net.UDPAddr).Port
}
