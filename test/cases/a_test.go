package cases

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// lifetimeChildren are the children of sections A and B.
var lifetimeChildren = map[string]func(args []string) error{
	"serve":     childServe,
	"call":      childCall,
	"ask":       childAsk,
	"call-many": childCallMany,
}

// childServe listens at args[0], prints its port and answers each connection
// with args[1] octets after it has read its end.
func childServe(args []string) error {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(io.Discard, c)
			_, _ = c.Write(make([]byte, n))
		}()
	}
}

// childCall connects to args[0], prints its port, sends args[1] octets, reads to
// the end and exits.
func childCall(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr().(*net.TCPAddr).Port)
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// childCallMany opens args[1] connections to args[0], and when all are there
// sends 1 octet through the first, 2 through the next, and closes them.
func childCallMany(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var all []net.Conn
	for range n {
		c, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	for i, c := range all {
		if _, err := c.Write(make([]byte, i+1)); err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// childAsk sends an octet by network args[0] to args[1], prints its port and what
// it is answered.
func childAsk(args []string) error {
	c, err := net.Dial(args[0], args[1])
	if err != nil {
		return err
	}
	defer c.Close()
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return err
	}
	fmt.Println(port)
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		if err := tcp.CloseWrite(); err != nil {
			return err
		}
	}
	b := make([]byte, 10)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	_, err = fmt.Println(string(b))
	return err
}

// A process of milliseconds in a namespace of its own has its flow, with pid,
// command line and exact octets.
func TestCaseA1_ProcessOfMilliseconds(t *testing.T) {
	rows := watch(t)
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wcA1", CIDR: "10.201.1.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.201.1.2/24"})
	server := spawn(t, nil, "serve", "10.201.1.1:0", "7000")
	port := server.number()
	callers := map[int]*process{} // by port
	sent := map[int]int{}
	for i := range 20 {
		c := spawn(t, box, "call", fmt.Sprint("10.201.1.1:", port), strconv.Itoa(1000+i))
		from := c.number()
		callers[from], sent[from] = c, 1000+i
		c.ended()
	}
	for _, got := range rows.final(t, 20, serverPort(port)) {
		from := int(got.num("client_port"))
		if callers[from] == nil {
			t.Fatalf("nobody called from %d: %v", from, got)
		}
		want(t, got, map[string]any{
			"client_pid": callers[from].Process.Pid, "client_netns": int(box.Inode), "client_method": "cookie",
			"server_pid": server.Process.Pid, "server_netns": int(host.Inode), "server_method": "cookie",
			"to_server_bytes": sent[from], "to_client_bytes": 7000, "reporter": "both", "close_cause": "normal",
		})
	}
}
