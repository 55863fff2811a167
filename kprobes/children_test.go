package kprobes

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// children are what the test binary can be as a child process. Descriptor 3 is
// what the test hands over.
var children = map[string]func(args []string) error{
	"noop":        func([]string) error { return nil },
	"dial":        childDial,
	"worker":      childWorker,
	"fork-server": childForkServer,
	"scm-server":  childSCMServer,
	"scm-worker":  childSCMWorker,
	"echo-once":   childEchoOnce,
	"read-some":   childReadSome,
	"write-some":  childWriteSome,
	"udp-send":    childUDPSend,
}

// childDial connects to args[0], sends args[1] octets and waits for the end.
func childDial(args []string) error {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
	return c.Close()
}

func inherited() *os.File { return os.NewFile(3, "inherited") }

// childWorker accepts on the shared listener; with args "silent" it neither
// reads nor writes, else it writes its pid.
func childWorker(args []string) error {
	ln, err := net.FileListener(inherited())
	if err != nil {
		return err
	}
	var kept []net.Conn
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if len(args) > 0 {
			kept = append(kept, c)
			if _, err := fmt.Println(len(kept)); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(c, "%d\n", os.Getpid())
		c.Close()
	}
}

// listenAndTell listens, prints the address and returns the first connection.
func listenAndTell() (*net.TCPConn, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	fmt.Println(ln.Addr())
	c, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// childForkServer lets a child of its own serve what it accepts; with args
// "read" it reads ten octets itself before.
func childForkServer(args []string) error {
	c, err := listenAndTell()
	if err != nil {
		return err
	}
	if len(args) > 0 {
		if _, err := io.CopyN(io.Discard, c, 10); err != nil {
			return err
		}
	}
	f, err := c.File()
	if err != nil {
		return err
	}
	c.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "WEIR_TEST_CHILD=echo-once")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	f.Close()
	return cmd.Wait()
}

// childEchoOnce answers one octet with what it is sent until the end.
func childEchoOnce([]string) error {
	c, err := net.FileConn(inherited())
	if err != nil {
		return err
	}
	inherited().Close() // FileConn made a copy
	if _, err := io.Copy(c, c); err != nil {
		return err
	}
	return c.Close()
}

// childReadSome reads args[0] octets from the connection it was given.
func childReadSome(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, inherited(), int64(n))
	return err
}

// childWriteSome writes args[0] octets to the connection it was given.
func childWriteSome(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	_, err = inherited().Write(make([]byte, n))
	return err
}

// childSCMServer passes what it accepts through the unix socket and exits.
func childSCMServer([]string) error {
	c, err := listenAndTell()
	if err != nil {
		return err
	}
	f, err := c.File()
	if err != nil {
		return err
	}
	return unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
}

// childSCMWorker serves the connection it receives.
func childSCMWorker([]string) error {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), oob, 0)
	if err != nil {
		return err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fds[0]), "passed")
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	f.Close()
	if _, err := io.Copy(c, c); err != nil {
		return err
	}
	return c.Close()
}

// childUDPSend sends args[1] datagrams of args[2] octets to args[0], through
// the socket it inherited if there is a fourth argument.
func childUDPSend(args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var c net.Conn
	if len(args) > 3 {
		c, err = net.FileConn(inherited())
	} else {
		c, err = net.Dial("udp", args[0])
	}
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr())
	buf := make([]byte, size)
	for range count {
		if _, err := c.Write(buf); err != nil {
			return err
		}
	}
	return c.Close()
}
