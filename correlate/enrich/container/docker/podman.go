package docker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

// Podman speaks Docker's API, which knows no pods: every container of a pod shows
// the pod's address as its own. Its other API tells who is in which pod. The
// address is the infra container's, which stands for the pod.

// podmanMember is what Podman's own API tells of a container.
type podmanMember struct {
	ID      string `json:"Id"`
	Pod     string `json:"Pod"` // id, empty outside pods
	PodName string `json:"PodName"`
	IsInfra bool   `json:"IsInfra"`
}

// podman keeps what is known of an engine's pods; it belongs to Run.
type podman struct {
	prefix string            // of its own API, empty for Docker
	names  map[string]string // pod id → name
}

// maxPods bounds the names kept; beyond it they are asked for again.
const maxPods = 4096

// adopt puts containers of a list into their pods.
func (c *Client) adopt(ctx context.Context, all []engine.Details) error {
	if c.podman.prefix == "" {
		return nil
	}
	body, err := c.get(ctx, c.podman.prefix+"/containers/json?all=true")
	if err != nil {
		return err
	}
	var list []podmanMember
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("decode Podman's list of containers: %w", err)
	}
	members := make(map[string]*podmanMember, len(list))
	for i := range list {
		members[list[i].ID] = &list[i]
	}
	for i := range all {
		if m := members[all[i].Container.ID]; m != nil && m.Pod != "" {
			c.podman.remember(m.Pod, m.PodName)
			m.join(&all[i])
		}
	}
	return nil
}

// join makes a container part of its pod.
func (m *podmanMember) join(d *engine.Details) {
	x := *d.Container
	x.Pod, x.Sandbox = correlate.Pod{Name: engine.Limit(m.PodName, engine.MaxName)}, m.IsInfra
	if m.IsInfra {
		x.Name = "" // made of the pod's id
	} else {
		d.Addresses = nil
	}
	d.Container = &x
}

// adoptOne is adopt for one container.
func (c *Client) adoptOne(ctx context.Context, d *engine.Details) {
	if c.podman.prefix == "" {
		return
	}
	var m podmanMember
	if !c.ask(ctx, "/containers/"+d.Container.ID+"/json", &m) {
		d.Addresses = nil // they may be the pod's
		return
	}
	if !engine.IsID(m.Pod) {
		return
	}
	name, ok := c.podman.names[m.Pod]
	if !ok {
		var pod struct{ Name string }
		if !c.ask(ctx, "/pods/"+m.Pod+"/json", &pod) {
			d.Addresses = nil
			return
		}
		name = pod.Name
		c.podman.remember(m.Pod, name)
	}
	m.PodName = name
	m.join(d)
}

func (c *Client) ask(ctx context.Context, path string, into any) bool {
	body, err := c.get(ctx, c.podman.prefix+path)
	return err == nil && json.Unmarshal(body, into) == nil
}

func (p *podman) remember(id, name string) {
	if p.names == nil || len(p.names) >= maxPods {
		p.names = map[string]string{}
	}
	p.names[id] = engine.Limit(name, engine.MaxName)
}

// sameNow is a container as an event tells it, in the pod it is known to be in:
// events do not tell pods.
func (c *Client) sameNow(x *correlate.Container) *correlate.Container {
	if was := c.Store.Get(x.ID); was != nil && was.Pod.UID == "" && was.Pod.Name != "" {
		x.Pod, x.Sandbox = was.Pod, was.Sandbox
		if x.Sandbox {
			x.Name = ""
		}
	}
	return x
}
