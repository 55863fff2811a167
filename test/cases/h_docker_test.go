package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/netlab"
)

// childImage makes an image of the test binary, at /child, and returns its name.
func childImage(t *testing.T, e *dockerd.Engine) string {
	t.Helper()
	child := filepath.Join(t.TempDir(), "child")
	cmd := exec.Command("go", "test", "-c", "-o", child, "github.com/weir-probe/weir/test/cases")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the child: %v\n%s", err, out)
	}
	return e.Import(t, "weir-test/child:1", map[string]string{"/child": child}, nil)
}

// inContainer starts a child in a container; options are docker run's.
func inContainer(t *testing.T, e *dockerd.Engine, image, name string, options []string, role string, args ...string) *process {
	t.Helper()
	t.Cleanup(func() { _, _ = e.CLI("rm", "-f", name) })
	run := append([]string{"-H", e.Host, "run", "-i", "--name", name, "-e", childRole + "=" + role}, options...)
	return launch(t, nil, exec.Command("docker", append(append(run, image, "/child"), args...)...))
}

// ownEngine starts a weir that knows the engine.
func ownEngine(t *testing.T, e *dockerd.Engine) *rows {
	t.Helper()
	return ownKnowing(t, "--docker", e.Host)
}

// ownKnowing starts a weir and waits until it has its engine: one that is busy answers
// seconds after the probe is ready.
func ownKnowing(t *testing.T, args ...string) *rows {
	t.Helper()
	p, r := own(t, args...)
	p.WaitLog(t, "container engine found")
	return r
}

// The owner of a socket is in its own control group's container, whatever
// namespaces it shares: with the host (H4), or with another container (A15 the
// PIDs, A10 the network).
func TestCaseH4_SharedNamespaces(t *testing.T) {
	e := dockerd.Start(t)
	image := childImage(t, e)
	r := ownEngine(t, e)
	host := int(netlab.Host(t).Inode)

	hostNet := inContainer(t, e, image, "whhost", []string{"--network", "host"}, "serve", "127.206.4.1:0", "400")
	port := hostNet.number()
	spawn(t, nil, "call", fmt.Sprint("127.206.4.1:", port), "300").ended()

	inContainer(t, e, image, "whfirst", nil, "serve", "127.0.0.1:4101", "401").number()
	inContainer(t, e, image, "whpid", []string{"--network", "host", "--pid", "container:whfirst"}, "serve", "127.206.4.2:4102", "402").number()
	spawn(t, nil, "call", "127.206.4.2:4102", "302").ended()

	// its neighbour calls it on the loopback they share, and nobody listens on 4199 there
	neighbour := inContainer(t, e, image, "whsecond", []string{"--network", "container:whfirst"}, "call", "127.0.0.1:4101", "301")
	neighbour.number()
	neighbour.ended()
	third := inContainer(t, e, image, "whthird", []string{"--network", "container:whfirst"}, "call", "127.0.0.1:4199", "301")
	_ = third.Wait() // it is refused

	got := r.final(t, 1, serverPort(port))[0]
	want(t, got, map[string]any{"server": "whhost", "server_container": "whhost", "server_image": image, "server_netns": host,
		"server_process": "child", "server_method": "cookie", "client_container": "", "to_client_bytes": 400})
	got = r.final(t, 1, serverPort(4102))[0]
	want(t, got, map[string]any{"server": "whpid", "server_container": "whpid", "client_container": "", "to_client_bytes": 402})
	got = r.final(t, 1, serverPort(4101))[0]
	want(t, got, map[string]any{"server": "whfirst", "client": "whsecond", "client_container": "whsecond", "to_client_bytes": 401})
	if got.num("client_netns") != got.num("server_netns") || int(got.num("client_netns")) == host {
		t.Errorf("not in one network of their own: %v", got)
	}
	got = r.final(t, 1, serverPort(4199))[0]
	// Two containers share that loopback and neither listened: no one's then, just this host's.
	want(t, got, map[string]any{"client": "whthird", "failed_refused": 1, "server": "h", "server_container": ""})
}

// Two containers in one network listen on one port; each connection is the one's
// that took it, never the last one's that bound.
func TestCaseA10_TwoContainersOnePort(t *testing.T) {
	e := dockerd.Start(t)
	image := childImage(t, e)
	r := ownEngine(t, e)
	inContainer(t, e, image, "whreuse1", nil, "serve-shared", "127.0.0.1:4120", "501").number()
	inContainer(t, e, image, "whreuse2", []string{"--network", "container:whreuse1"}, "serve-shared", "127.0.0.1:4120", "502").number()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const calls = 16
	for range calls {
		cmd := exec.Command("nsenter", "--net=/proc/"+fmt.Sprint(e.PID(t, "whreuse1"))+"/ns/net", exe, "127.0.0.1:4120", "300")
		cmd.Env = append(os.Environ(), childRole+"=call")
		launch(t, nil, cmd).ended()
	}
	took := map[string]int{}
	for _, got := range r.final(t, calls, serverPort(4120)) {
		n := int(got.num("to_client_bytes")) - 500
		name := fmt.Sprint("whreuse", n)
		want(t, got, map[string]any{"server": name, "server_container": name, "server_pid": e.PID(t, name), "server_method": "cookie"})
		took[name]++
	}
	if len(took) != 2 {
		t.Errorf("one of them took all: %v", took)
	}
}

// A container's address seen in a namespace with a network of its own is not the
// container's: here a lab has the bridge's subnet, and nobody answers there.
func TestCaseC2_AddressOfAnotherNetwork(t *testing.T) {
	e := dockerd.Start(t)
	image := childImage(t, e)
	r := ownEngine(t, e)
	inContainer(t, e, image, "whaddr", nil, "serve", "0.0.0.0:4110", "400").number()
	ip := e.IP(t, "whaddr", "bridge")
	// nobody listens on 4111: the server's end has no socket here or there
	_ = spawn(t, nil, "call", ip+":4111", "1").Wait()
	lab := netlab.New(t)
	lab.Address(t, "lo", ip+"/32")
	_ = spawn(t, lab, "call", ip+":4112", "1").Wait()
	got := r.final(t, 1, serverPort(4111))[0]
	want(t, got, map[string]any{"server": "whaddr", "server_container": "whaddr", "server_method": "address"})
	got = r.final(t, 1, serverPort(4112))[0]
	want(t, got, map[string]any{"client_netns": int(lab.Inode), "client_container": "", "server_container": ""})
	if got.tag("server") == "whaddr" {
		t.Errorf("an address of the lab is taken for the container's: %v", got)
	}
}
