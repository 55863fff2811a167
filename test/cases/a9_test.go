package cases

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
)

// activationChildren are the children of case A9.
var activationChildren = map[string]func(args []string) error{
	"activate": childActivate, "activated": childActivated, "activated-accept": childActivatedAccept,
}

// childActivate does what systemd does for a socket unit: it listens at args[0],
// prints its port, waits for a connection without taking it, and starts the
// service args[1] with the listener as descriptor 3 (Accept=no), or takes each
// connection and gives it to a service of its own as descriptor 3 (Accept=yes).
// The service's pid is printed.
func childActivate(args []string) error {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	if args[1] == "activated" {
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		return serviceOn(f, args[1]).Wait()
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			return err
		}
		c.Close()
		service := serviceOn(f, args[1])
		f.Close()
		if err := service.Wait(); err != nil {
			return err
		}
	}
}

// serviceOn starts the test binary as a service with f as descriptor 3.
func serviceOn(f *os.File, role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childRole+"="+role, "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		panic(err) // of a child
	}
	fmt.Println(cmd.Process.Pid)
	return cmd
}

// childActivated serves what the listener it was given brings.
func childActivated([]string) error {
	ln, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := reply(c, 700); err != nil {
			return err
		}
	}
}

// childActivatedAccept serves the one connection it was given.
func childActivatedAccept([]string) error {
	c, err := net.FileConn(os.NewFile(3, "connection"))
	if err != nil {
		return err
	}
	return reply(c, 800)
}

// reply reads to the end and writes n octets.
func reply(c net.Conn, n int) error {
	defer c.Close()
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	_, err := c.Write(make([]byte, n))
	return err
}

// The service owns what comes in on a listener that another process made for it.
func TestCaseA9_SocketActivation(t *testing.T) {
	r := watch(t)
	activator := spawn(t, nil, "activate", "127.206.9.1:0", "activated")
	port, service := activator.number(), activator.number()
	t.Cleanup(func() { kill(service) })
	spawn(t, nil, "call", fmt.Sprint("127.206.9.1:", port), "300").ended()
	got := r.final(t, 1, serverPort(port))[0]
	want(t, got, map[string]any{"server_pid": service, "server_ppid": activator.Process.Pid, "server_method": "cookie",
		"to_server_bytes": 300, "to_client_bytes": 700})
}

// With Accept=yes the activator accepts; the service that reads and writes owns
// the connection.
func TestCaseA9_SocketActivationAccept(t *testing.T) {
	r := watch(t)
	activator := spawn(t, nil, "activate", "127.206.9.2:0", "activated-accept")
	port := activator.number()
	owners := map[int]int{} // by client port
	for i := range 3 {
		c := spawn(t, nil, "call", fmt.Sprint("127.206.9.2:", port), fmt.Sprint(300+i))
		from := c.number()
		owners[from] = activator.number()
		c.ended()
	}
	for _, got := range r.final(t, 3, serverPort(port)) {
		service, ok := owners[int(got.num("client_port"))]
		if !ok || service == activator.Process.Pid {
			t.Fatalf("nobody called from there: %v", got)
		}
		want(t, got, map[string]any{"server_pid": service, "server_creator_pid": activator.Process.Pid, "server_ppid": activator.Process.Pid, "to_client_bytes": 800})
	}
}

// kill ends a process that a child started.
func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
