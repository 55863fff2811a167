package netlab

import (
	"net"
	"testing"
)

// Serve listens for TCP at an address of the namespace and has with serve each connection,
// which is closed behind it, until t ends. It returns the port.
func (n *NS) Serve(t testing.TB, addr string, with func(net.Conn)) (port int) {
	t.Helper()
	var ln net.Listener
	n.Do(t, func() (err error) {
		ln, err = net.Listen("tcp", addr)
		return err
	})
	Accept(t, ln, with)
	return ln.Addr().(*net.TCPAddr).Port
}

// Accept has with serve each connection to ln, which is closed behind it, until t ends.
func Accept(t testing.TB, ln net.Listener, with func(net.Conn)) {
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				with(c)
			}()
		}
	}()
}
