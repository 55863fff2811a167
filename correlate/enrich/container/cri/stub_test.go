package cri_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/correlate/enrich/container/cri"
)

// stub is a runtime that speaks the real protocol and says what the test wants:
// CRI-O cannot be had here, and containerd 1.6 serves no events.
type stub struct {
	runtime.UnimplementedRuntimeServiceServer

	mu         sync.Mutex
	sandboxes  []*runtime.PodSandbox
	containers []*runtime.Container
	status     map[string]*runtime.PodSandboxStatus
	lists      int
	hold       chan struct{} // while not closed, lists do not answer
	hungStatus bool          // PodSandboxStatus does not answer
	events     func(runtime.RuntimeService_GetContainerEventsServer) error
}

func (s *stub) Version(context.Context, *runtime.VersionRequest) (*runtime.VersionResponse, error) {
	return &runtime.VersionResponse{Version: "0.1.0", RuntimeName: "cri-o", RuntimeVersion: "1.31.0", RuntimeApiVersion: "v1"}, nil
}

func (s *stub) ListContainers(ctx context.Context, _ *runtime.ListContainersRequest) (*runtime.ListContainersResponse, error) {
	s.mu.Lock()
	s.lists++
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtime.ListContainersResponse{Containers: s.containers}, nil
}

func (s *stub) ListPodSandbox(context.Context, *runtime.ListPodSandboxRequest) (*runtime.ListPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtime.ListPodSandboxResponse{Items: s.sandboxes}, nil
}

func (s *stub) PodSandboxStatus(ctx context.Context, q *runtime.PodSandboxStatusRequest) (*runtime.PodSandboxStatusResponse, error) {
	s.mu.Lock()
	hung := s.hungStatus
	s.mu.Unlock()
	if hung {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.status[q.PodSandboxId]; st != nil {
		return &runtime.PodSandboxStatusResponse{Status: st}, nil
	}
	return nil, status.Error(codes.NotFound, "no such sandbox")
}

func (s *stub) GetContainerEvents(_ *runtime.GetEventsRequest, stream runtime.RuntimeService_GetContainerEventsServer) error {
	if s.events == nil {
		return status.Error(codes.Unimplemented, "unknown method GetContainerEvents")
	}
	return s.events(stream)
}

// change changes what the runtime has.
func (s *stub) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *stub) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// pod adds a pod with one container; ids are made of n.
func (s *stub) pod(n int, namespace, name string, network runtime.NamespaceMode, ips ...string) (sandbox, container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box, con := id(2*n), id(2*n+1)
	uid := fmt.Sprintf("%08d-0000-0000-0000-000000000000", n)
	labels := map[string]string{"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid, "pod-template-hash": "6d5f9c7b84"}
	m := &runtime.PodSandboxMetadata{Name: name, Namespace: namespace, Uid: uid}
	s.sandboxes = append(s.sandboxes, &runtime.PodSandbox{Id: box, Metadata: m, Labels: labels, CreatedAt: int64(n)})
	s.containers = append(s.containers, &runtime.Container{
		Id: con, PodSandboxId: box, Metadata: &runtime.ContainerMetadata{Name: "main"}, Image: &runtime.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "registry/app:1"},
		Labels: map[string]string{"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid, "io.kubernetes.container.name": "main"},
	})
	st := &runtime.PodSandboxStatus{
		Id: box, Metadata: m, Labels: labels, CreatedAt: int64(n), Network: &runtime.PodSandboxNetworkStatus{},
		Linux: &runtime.LinuxPodSandboxStatus{Namespaces: &runtime.Namespace{Options: &runtime.NamespaceOption{Network: network}}},
	}
	for i, ip := range ips {
		if i == 0 {
			st.Network.Ip = ip
		} else {
			st.Network.AdditionalIps = append(st.Network.AdditionalIps, &runtime.PodIP{Ip: ip})
		}
	}
	if s.status == nil {
		s.status = map[string]*runtime.PodSandboxStatus{}
	}
	s.status[box] = st
	return box, con
}

func id(n int) string { return fmt.Sprintf("%064x", n) }

// serve runs a server on a socket of its own until the test ends.
func serve(t *testing.T, s runtime.RuntimeServiceServer, opts ...grpc.ServerOption) string {
	t.Helper()
	g := grpc.NewServer(append(opts, grpc.MaxSendMsgSize(1<<30))...)
	if s != nil {
		runtime.RegisterRuntimeServiceServer(g, s)
	}
	path := filepath.Join(t.TempDir(), "s")
	go func(l net.Listener) { _ = g.Serve(l) }(listen(t, path))
	t.Cleanup(g.Stop)
	return path
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// follow runs a client until the test ends.
func follow(t *testing.T, cfg cri.Config) *cri.Client {
	t.Helper()
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = 20 * time.Millisecond
	}
	c := cri.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

func connected(c *cri.Client) func() bool { return func() bool { return c.Status().Connected } }

func repeat(s string, n int) string { return strings.Repeat(s, n) }
