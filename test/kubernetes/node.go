package kubernetes

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// Image is the one image there is: /workload of test/workload.
const Image = "localhost/workload:1"

// Config is the pod network of a node.
type Config struct {
	Subnet4 string // like 10.205.0.0/24
	Subnet6 string // empty: no IPv6 in pods
}

// Node is a node with a container runtime and without a kubelet.
type Node struct {
	Socket string     // CRI
	NS     *netlab.NS // the node's network, that of hostNetwork pods

	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
	cmd     *exec.Cmd
	exited  chan struct{}
	data    string // on a real file system
	run     string // short path for sockets
	uids    []string
}

// Start returns a node, or skips the test with the reason; where WEIR_REQUIRE
// contains "containerd" a missing one is a failure.
func Start(t testing.TB, cfg Config) *Node {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root to start containerd")
	}
	for _, bin := range []string{"containerd", "runc", "ctr", "unshare", "/usr/lib/cni/bridge"} {
		if _, err := exec.LookPath(bin); err != nil {
			missing(t, bin+" is not installed (Debian: containerd, runc, containernetworking-plugins)")
		}
	}
	n := &Node{NS: netlab.New(t)}
	t.Cleanup(func() { n.close(t) })
	if err := n.prepare(cfg); err != nil {
		t.Fatal(err)
	}
	n.NS.Sysctl(t, "net/ipv4/ip_forward", "1")
	n.NS.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	n.start(t)
	n.load(t)
	return n
}

func missing(t testing.TB, why string) {
	t.Helper()
	machine.Missing(t, "containerd", "no containerd: "+why)
}

// config is what works in a sandbox without AppArmor, hugetlb and the right to
// lower a score, on a host with any cgroup layout.
const config = `version = 2
root = %[1]q
state = %[2]q
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing"]
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
[plugins."io.containerd.internal.v1.opt"]
  path = %[5]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + Image + `"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %[6]q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = %[7]q
`

func (n *Node) prepare(cfg Config) (err error) {
	if n.data, err = os.MkdirTemp("/var/lib", "weir-test-k8s-"); err != nil {
		return fmt.Errorf("make the node's data directory: %w", err)
	}
	if n.run, err = os.MkdirTemp("/run", "weir-k8s-"); err != nil {
		return fmt.Errorf("make the node's run directory: %w", err)
	}
	n.Socket = filepath.Join(n.run, "cri.sock")
	file := fmt.Sprintf(config, n.data+"/root", n.run+"/state", n.Socket, n.run+"/ttrpc.sock", n.data+"/opt", n.run+"/net.d", n.run+"/runc")
	ranges := fmt.Sprintf(`[{"subnet":%q}]`, cfg.Subnet4)
	routes := `{"dst":"0.0.0.0/0"}`
	if cfg.Subnet6 != "" {
		ranges += fmt.Sprintf(`,[{"subnet":%q}]`, cfg.Subnet6)
		routes += `,{"dst":"::/0"}`
	}
	network := fmt.Sprintf(`{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"wkcni0","isGateway":true,
 "ipam":{"type":"host-local","dataDir":%q,"ranges":[%s],"routes":[%s]}}]}`, n.run+"/ipam", ranges, routes)
	if err := os.MkdirAll(n.run+"/net.d", 0o755); err != nil {
		return fmt.Errorf("make the node's network: %w", err)
	}
	for path, text := range map[string]string{n.run + "/config.toml": file, n.run + "/net.d/10-pods.conflist": network} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("configure the node: %w", err)
		}
	}
	return nil
}

// start starts containerd in the node's network and in mounts of its own, so that
// what it writes to fixed places and what it mounts goes away with it.
func (n *Node) start(t testing.TB) {
	t.Helper()
	log, err := os.Create(n.run + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command("unshare", "-m", "--propagation", "private", "sh", "-ec", `
mkdir -p /run/containerd /var/lib/cni
mount -t tmpfs none /run/containerd
mount -t tmpfs none /var/lib/cni
exec containerd --config "$1"`, "sh", n.run+"/config.toml")
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.NS.StartCommand(t, n.cmd)
	n.exited = make(chan struct{})
	go func() { _ = n.cmd.Wait(); close(n.exited) }()
	conn, err := grpc.NewClient("unix://"+n.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	n.conn = conn
	n.runtime = cri.NewRuntimeServiceClient(conn)
	probe.Until(t, 30*time.Second, "containerd is ready", func() error {
		select {
		case <-n.exited:
			t.Fatalf("containerd ended:\n%s", n.tail())
		default:
		}
		s, err := n.runtime.Status(t.Context(), &cri.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if !c.Status {
				return fmt.Errorf("%s: %s", c.Type, c.Message)
			}
		}
		return nil
	})
}

// load gives the node its image.
func (n *Node) load(t testing.TB) {
	t.Helper()
	workload := probe.Build(t, "./test/workload")
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := writeImage(archive, Image, workload); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ctr", "-a", n.Socket, "-n", "k8s.io", "images", "import", archive).CombinedOutput(); err != nil {
		t.Fatalf("import the image: %v: %s", err, out)
	}
}

// ReuseAddresses makes the next pod get the addresses of one that was deleted, as
// happens where a node has few.
func (n *Node) ReuseAddresses(t testing.TB, deleted *Pod) {
	t.Helper()
	for i, ip := range deleted.IPs {
		before := netip.MustParseAddr(ip).Prev()
		if err := os.WriteFile(fmt.Sprintf("%s/ipam/pods/last_reserved_ip.%d", n.run, i), []byte(before.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *Node) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if n.runtime != nil {
		if list, err := n.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{}); err == nil {
			for _, s := range list.Items {
				n.remove(ctx, s.Id)
			}
		}
		n.conn.Close()
	}
	if n.exited != nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.exited:
		case <-time.After(10 * time.Second):
			_ = n.cmd.Process.Kill()
			<-n.exited
		}
	}
	if t.Failed() && n.run != "" {
		t.Logf("containerd:\n%s", n.tail())
	}
	n.dropCgroups()
	for _, dir := range []string{n.data, n.run} {
		if dir != "" {
			if err := os.RemoveAll(dir); err != nil {
				t.Logf("left behind: %v", err)
			}
		}
	}
}

// dropCgroups removes the pods' groups, which the kubelet would.
func (n *Node) dropCgroups() {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, uid := range n.uids {
			for _, qos := range []string{"", "/burstable", "/besteffort"} {
				dirs, _ := filepath.Glob(root + "/kubepods" + qos + "/pod" + uid)
				for _, d := range dirs {
					_ = os.Remove(d)
				}
			}
		}
		for _, parent := range []string{"/kubepods/burstable", "/kubepods/besteffort", "/kubepods"} {
			dirs, _ := filepath.Glob(root + parent)
			for _, d := range dirs {
				_ = os.Remove(d) // stays when another node uses it
			}
		}
	}
}

func (n *Node) tail() string {
	b, _ := os.ReadFile(n.run + "/log")
	return string(b[max(0, len(b)-4000):])
}
