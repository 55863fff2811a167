package cri

import (
	"context"
	"net/netip"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/flows"
)

// list compares what is known with all the runtime has.
func (c *Client) list(ctx context.Context, rt runtime.RuntimeServiceClient) error {
	asked := time.Now().UnixNano()
	c.wanted.begin()
	c.Count(func(s *engine.Stats) { s.Lists++ })
	// Containers first: a sandbox is there before its containers.
	containers, err := call(ctx, c, "ListContainers", rt.ListContainers, &runtime.ListContainersRequest{})
	if err != nil {
		return err
	}
	sandboxes, err := call(ctx, c, "ListPodSandbox", rt.ListPodSandbox, &runtime.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	all := make([]engine.Details, 0, len(containers.Containers)+len(sandboxes.Items))
	pods := make(map[string]*correlate.Pod, len(sandboxes.Items))
	addressed := make(map[string]struct{}, len(sandboxes.Items))
	for _, s := range sandboxes.Items {
		if s == nil || !engine.IsID(s.Id) {
			continue
		}
		d := engine.Details{Container: sandbox(s.Id, s.Metadata, s.Labels, s.Annotations), Running: s.State == runtime.PodSandboxState_SANDBOX_READY, Created: s.CreatedAt}
		pods[s.Id] = &d.Container.Pod
		if _, known := c.addressed[s.Id]; known {
			addressed[s.Id] = struct{}{}
		} else if d.Running {
			var settled bool
			if d.Addresses, settled, err = c.addresses(ctx, rt, s.Id); err != nil {
				return err
			} else if settled {
				addressed[s.Id] = struct{}{}
			}
		}
		all = append(all, d)
	}
	for _, x := range containers.Containers {
		if x != nil && engine.IsID(x.Id) {
			all = append(all, engine.Details{
				Container: c.member(x.Id, x.Metadata, x.Image, x.Labels, x.PodSandboxId, pods[x.PodSandboxId]), Created: x.CreatedAt,
			})
		}
	}
	c.Store.Replace(all, asked)
	c.addressed = addressed
	c.wanted.found(func(id string) bool { return c.Store.Get(id) != nil })
	return nil
}

// sandbox makes a pod's sandbox.
func sandbox(id string, m *runtime.PodSandboxMetadata, labels, annotations map[string]string) *correlate.Container {
	return &correlate.Container{
		ID: id, Sandbox: true,
		Pod: engine.NewPod(m.GetUid(), m.GetNamespace(), m.GetName(), labels, annotations),
	}
}

// member makes a container of a pod; pod is nil when its sandbox was not told.
func (c *Client) member(id string, m *runtime.ContainerMetadata, image *runtime.ImageSpec, labels map[string]string, sandbox string, pod *correlate.Pod) *correlate.Container {
	x := &correlate.Container{ID: id, Name: engine.ContainerName(labels), Image: engine.Limit(image.GetUserSpecifiedImage(), engine.MaxImage)}
	if x.Name == "" {
		x.Name = engine.Limit(m.GetName(), engine.MaxName)
	}
	if x.Image == "" {
		x.Image = engine.Limit(image.GetImage(), engine.MaxImage)
	}
	if s := c.Store.Get(sandbox); pod == nil && s != nil {
		pod = &s.Pod
	}
	if pod != nil {
		x.Pod = *pod
	} else {
		x.Pod = engine.LabelledPod(labels)
	}
	return x
}

// addresses asks for a sandbox's addresses; settled says that asking again would
// tell nothing more.
func (c *Client) addresses(ctx context.Context, rt runtime.RuntimeServiceClient, id string) (_ []engine.Attachment, settled bool, err error) {
	c.Count(func(s *engine.Stats) { s.Inspects++ })
	a, err := call(ctx, c, "PodSandboxStatus", rt.PodSandboxStatus, &runtime.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		c.Count(func(s *engine.Stats) { s.InspectsFailed++ })
		if !unanswered(err) {
			err = nil // gone, or broken: the others have their names all the same
		}
		return nil, false, err
	}
	list, own := attachments(a.Status)
	return list, !own || len(list) > 0, nil
}

// attachments are a sandbox's addresses, none where it uses the node's: those
// belong to nobody in particular. own says that it has a network of its own.
func attachments(s *runtime.PodSandboxStatus) (list []engine.Attachment, own bool) {
	if s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtime.NamespaceMode_NODE {
		return nil, false
	}
	add := func(ip string) {
		if a, err := netip.ParseAddr(ip); err == nil && !a.IsUnspecified() && !a.IsLoopback() && len(list) < engine.MaxAddresses {
			list = append(list, engine.Attachment{Network: podNetwork, Addr: flows.AddrFrom(a)})
		}
	}
	add(s.GetNetwork().GetIp())
	for _, ip := range s.GetNetwork().GetAdditionalIps() {
		add(ip.GetIp())
	}
	return list, true
}

// podNetwork stands for the node's pod network: CRI does not name networks.
const podNetwork = "pod"
