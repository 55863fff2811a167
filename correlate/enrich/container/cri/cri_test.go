package cri_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cri"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/machine"
)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

const hostNetwork = runtime.NamespaceMode_NODE

func TestNamesPodsAndContainers(t *testing.T) {
	s := &stub{}
	box, con := s.pod(1, "shop", "api-6d5f9c7b84-x2x9q", 0, "10.0.0.7", "fd00::7")
	_, agent := s.pod(2, "kube-system", "agent-k7x2p", hostNetwork, "192.0.2.1") // CRI-O tells the node's address
	c := follow(t, cri.Config{Host: serve(t, s)})
	machine.Until(t, "connected", connected(c))
	pod := correlate.Pod{UID: "00000001-0000-0000-0000-000000000000", Namespace: "shop", Name: "api-6d5f9c7b84-x2x9q", Workload: "api", Controller: "deployment/api", Revision: "6d5f9c7b84"}
	if got, want := c.Lookup(con), (correlate.Container{ID: con, Name: "main", Image: "registry/app:1", Pod: pod}); got == nil || *got != want {
		t.Errorf("%+v", got)
	}
	if got, want := c.Pod(pod.UID), (correlate.Container{ID: box, Sandbox: true, Pod: pod}); got == nil || *got != want {
		t.Errorf("%+v", got)
	}
	if got := c.Lookup(agent); got == nil || got.DisplayName() != "kube-system/agent" {
		t.Errorf("%+v", got)
	}
	for ip, want := range map[string]string{"10.0.0.7": box, "fd00::7": box, "192.0.2.1": ""} { // H13, H4
		got := c.ByAddress(addr(ip), time.Now().UnixNano())
		if (got == nil) != (want == "") || got != nil && got.ID != want {
			t.Errorf("%s: %+v", ip, got)
		}
	}
	if st := c.Status(); st.Version != "cri-o 1.31.0, CRI v1" || st.Error != "" {
		t.Errorf("%+v", st)
	}
}

// A runtime without events is asked again when an id comes up that it has not told
// of; one that is in no list does not keep it busy.
func TestListsAgainWhenAsked(t *testing.T) {
	s := &stub{}
	c := follow(t, cri.Config{Host: serve(t, s), Ping: time.Hour})
	machine.Until(t, "connected", connected(c))
	_, con := s.pod(1, "shop", "api-0", 0)
	c.Lookup(con)
	machine.Until(t, "known", func() bool { return c.Lookup(con) != nil })

	before := s.listed()
	machine.Until(t, "given up", func() bool { c.Lookup(id(99)); return s.listed() >= before+4 })
	for range 200 {
		c.Lookup(id(99))
		time.Sleep(time.Millisecond)
	}
	if n := s.listed() - before; n > 5 {
		t.Errorf("a stranger's id made %d lists", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.Lookup(id99); c.Lookup(con) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var id99 = id(99)

func TestEvents(t *testing.T) {
	s := &stub{}
	box, con := id(2), id(3)
	news := make(chan *runtime.ContainerEventResponse)
	s.events = func(stream runtime.RuntimeService_GetContainerEventsServer) error {
		for {
			select {
			case e := <-news:
				if err := stream.Send(e); err != nil {
					return err
				}
			case <-stream.Context().Done():
				return nil
			}
		}
	}
	c := follow(t, cri.Config{Host: serve(t, s), Ping: time.Hour, Grace: time.Hour})
	machine.Until(t, "connected", connected(c))
	lists := s.listed()
	meta := &runtime.PodSandboxMetadata{Name: "blink-x2x9q", Namespace: "batch", Uid: "u-1"}
	sandbox := &runtime.PodSandboxStatus{Id: box, Metadata: meta, CreatedAt: 50, Network: &runtime.PodSandboxNetworkStatus{Ip: "10.0.0.9"}}
	news <- &runtime.ContainerEventResponse{
		ContainerId: con, ContainerEventType: runtime.ContainerEventType_CONTAINER_STARTED_EVENT, CreatedAt: 60, PodSandboxStatus: sandbox,
		ContainersStatuses: []*runtime.ContainerStatus{nil, {Id: con, Metadata: &runtime.ContainerMetadata{Name: "main"}}, {Id: "../../etc"}},
	}
	machine.Until(t, "known", func() bool { return c.Store.Get(con) != nil })
	news <- &runtime.ContainerEventResponse{ContainerId: "not an id"}
	sandbox.State = runtime.PodSandboxState_SANDBOX_NOTREADY
	news <- &runtime.ContainerEventResponse{ContainerId: box, ContainerEventType: runtime.ContainerEventType_CONTAINER_STOPPED_EVENT, CreatedAt: 70, PodSandboxStatus: sandbox}
	for _, gone := range []string{con, box} {
		news <- &runtime.ContainerEventResponse{ContainerId: gone, ContainerEventType: runtime.ContainerEventType_CONTAINER_DELETED_EVENT, CreatedAt: 80}
	}
	machine.Until(t, "all events", func() bool { return c.Stats().Events == 4 && c.Stats().BadEvents == 1 })
	if got := c.Lookup(con); got == nil || got.Name != "main" || got.DisplayName() != "batch/blink" { // H1, H2
		t.Errorf("after it is gone: %+v", got)
	}
	for at, want := range map[int64]bool{49: false, 50: true, 69: true, 70: false, 90: false} {
		if got := c.ByAddress(addr("10.0.0.9"), at); (got != nil) != want {
			t.Errorf("at %d: %+v", at, got)
		}
	}
	if s.listed() != lists {
		t.Error("asked for a list though events told all")
	}
}

func TestRuntimeRestarts(t *testing.T) {
	s := &stub{events: func(stream runtime.RuntimeService_GetContainerEventsServer) error {
		_ = stream.Send(&runtime.ContainerEventResponse{ContainerId: id(7)})
		return nil // it goes down
	}}
	_, con := s.pod(1, "shop", "api-0", 0)
	c := follow(t, cri.Config{Host: serve(t, s)})
	machine.Until(t, "connected again", func() bool { return c.Stats().Connects >= 3 })
	if got := c.Lookup(con); got == nil || got.Name != "main" {
		t.Errorf("forgotten: %+v", got)
	}
}

func TestStops(t *testing.T) {
	s := &stub{hold: make(chan struct{})}
	c := cri.New(cri.Config{Host: serve(t, s), Timeout: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	machine.Until(t, "asked", func() bool { return s.listed() > 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
