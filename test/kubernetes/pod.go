package kubernetes

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/test/probe"
)

// QoS decides where a pod's control group is.
type QoS string

// The three classes.
const (
	Guaranteed QoS = ""
	Burstable  QoS = "/burstable"
	BestEffort QoS = "/besteffort"
)

// Spec is a pod as its manifest has it.
type Spec struct {
	Namespace, Name string
	UID             string // default: a new one
	QoS             QoS
	HostNetwork     bool
	Labels          map[string]string // the pod's own
	Annotations     map[string]string
}

// Pod is a running pod.
type Pod struct {
	Spec
	Sandbox string   // container id
	IPs     []string // none with the node's network

	node   *Node
	config *cri.PodSandboxConfig
}

// NewUID returns a pod UID.
func NewUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Run starts a pod without containers.
func (n *Node) Run(t testing.TB, s Spec) *Pod {
	t.Helper()
	if s.UID == "" {
		s.UID = NewUID()
	}
	n.uids = append(n.uids, s.UID)
	labels := map[string]string{"io.kubernetes.pod.name": s.Name, "io.kubernetes.pod.namespace": s.Namespace, "io.kubernetes.pod.uid": s.UID}
	maps.Copy(labels, s.Labels)
	mode := cri.NamespaceMode_POD
	if s.HostNetwork {
		mode = cri.NamespaceMode_NODE
	}
	p := &Pod{Spec: s, node: n, config: &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: s.Name, Uid: s.UID, Namespace: s.Namespace},
		Labels:   labels, Annotations: s.Annotations, LogDirectory: n.run + "/logs/" + s.UID,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    "/kubepods" + string(s.QoS) + "/pod" + s.UID,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: mode, Pid: cri.NamespaceMode_CONTAINER}},
		},
	}}
	if !s.HostNetwork {
		p.config.Hostname = s.Name
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	made, err := n.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		t.Fatalf("run pod %s/%s: %v", s.Namespace, s.Name, err)
	}
	p.Sandbox = made.PodSandboxId
	st, err := n.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.Sandbox})
	if err != nil {
		t.Fatalf("ask for pod %s/%s: %v", s.Namespace, s.Name, err)
	}
	if ip := st.Status.GetNetwork().GetIp(); ip != "" {
		p.IPs = append(p.IPs, ip)
	}
	for _, ip := range st.Status.GetNetwork().GetAdditionalIps() {
		p.IPs = append(p.IPs, ip.Ip)
	}
	return p
}

// Start starts a container with these arguments of /workload and returns its id.
func (p *Pod) Start(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	labels := map[string]string{
		"io.kubernetes.pod.name": p.Name, "io.kubernetes.pod.namespace": p.Namespace, "io.kubernetes.pod.uid": p.UID,
		"io.kubernetes.container.name": name,
	}
	made, err := p.node.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: p.Sandbox, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name}, Image: &cri.ImageSpec{Image: Image}, Args: args, Labels: labels, LogPath: name + ".log",
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions}},
		},
	})
	if err != nil {
		t.Fatalf("create container %s of %s/%s: %v", name, p.Namespace, p.Name, err)
	}
	if _, err := p.node.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		t.Fatalf("start container %s of %s/%s: %v", name, p.Namespace, p.Name, err)
	}
	return made.ContainerId
}

// Wait waits until a container has ended and wants status 0.
func (p *Pod) Wait(t testing.TB, id string) {
	t.Helper()
	for {
		st, err := p.node.runtime.ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			t.Fatalf("wait for container %s of %s/%s: %v", id[:12], p.Namespace, p.Name, err)
		}
		if st.Status.State == cri.ContainerState_CONTAINER_EXITED {
			if st.Status.ExitCode != 0 {
				t.Fatalf("container %s of %s/%s ended with %d", id[:12], p.Namespace, p.Name, st.Status.ExitCode)
			}
			return
		}
		time.Sleep(10 * time.Millisecond) // CRI of containerd 1.6 has no events
	}
}

// Serving waits until a container that serves does so, and returns its id.
func (p *Pod) Serving(t testing.TB, name string, args ...string) string {
	t.Helper()
	id := p.Start(t, name, append([]string{"server"}, args...)...)
	p.Wrote(t, name, "workload: serving")
	return id
}

// Wrote waits until a container has written a text.
func (p *Pod) Wrote(t testing.TB, name, text string) {
	t.Helper()
	probe.Until(t, 30*time.Second, fmt.Sprintf("%s of %s/%s writes %q", name, p.Namespace, p.Name, text), func() error {
		b, err := os.ReadFile(filepath.Join(p.config.LogDirectory, name+".log"))
		if err == nil && !strings.Contains(string(b), text) {
			err = fmt.Errorf("so far: %q", b)
		}
		return err
	})
}

// Delete removes the pod with its containers.
func (p *Pod) Delete(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p.node.remove(ctx, p.Sandbox)
}

func (n *Node) remove(ctx context.Context, sandbox string) {
	_, _ = n.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: sandbox})
	_, _ = n.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: sandbox})
}
