package docker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/flows"
)

// Labels that Compose sets (v1 and v2 alike).
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelReplica = "com.docker.compose.container-number"
	labelConfig  = "com.docker.compose.config-hash"
)

// labelDockerType is what cri-dockerd marks sandboxes with.
const labelDockerType = "io.kubernetes.docker.type"

// event is one line of GET /events.
type event struct {
	Type   string `json:"Type"`
	Action string `json:"Action"`
	Actor  struct {
		ID         string            `json:"ID"`
		Attributes map[string]string `json:"Attributes"`
	} `json:"Actor"`
	Time     int64 `json:"time"`     // s
	TimeNano int64 `json:"timeNano"` // ns
}

// unixNano is the time of the event.
func (e *event) unixNano() int64 {
	if e.TimeNano != 0 {
		return e.TimeNano
	}
	return e.Time * 1e9
}

func decodeEvent(line []byte) (event, error) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("decode an event of the engine: %w", err)
	}
	return e, nil
}

// container makes a Container of the attributes of a container event: its
// labels, with name and image among them.
func (e *event) container() *correlate.Container {
	a := e.Actor.Attributes
	return newContainer(e.Actor.ID, a["name"], a["image"], a)
}

func newContainer(id, name, image string, labels map[string]string) *correlate.Container {
	pod := engine.LabelledPod(labels) // of Kubernetes before 1.24, and cri-dockerd
	if n := engine.ContainerName(labels); pod.Name != "" && n != "" {
		name = n
	}
	return &correlate.Container{
		ID: id, Pod: pod, Sandbox: pod.Name != "" && labels[labelDockerType] == "podsandbox", Name: engine.Limit(strings.TrimPrefix(name, "/"), engine.MaxName), Image: engine.Limit(image, engine.MaxImage),
		Project: engine.Limit(labels[labelProject], engine.MaxLabel), Service: engine.Limit(labels[labelService], engine.MaxLabel),
		Replica: engine.Limit(labels[labelReplica], engine.MaxLabel), Revision: engine.Limit(labels[labelConfig], engine.MaxLabel),
	}
}

// networks are the networks of a container, by name.
type networks map[string]struct {
	IPAddress         string `json:"IPAddress"`
	GlobalIPv6Address string `json:"GlobalIPv6Address"`
}

func (n networks) attachments() []engine.Attachment {
	var out []engine.Attachment
	for name, net := range n {
		for _, s := range []string{net.IPAddress, net.GlobalIPv6Address} {
			if a, err := netip.ParseAddr(s); err == nil && len(out) < engine.MaxAddresses {
				out = append(out, engine.Attachment{Network: name, Addr: flows.AddrFrom(a)})
			}
		}
	}
	return out
}

// decodeList reads GET /containers/json; what has no proper id is left out.
func decodeList(body []byte) ([]engine.Details, error) {
	var list []struct {
		ID              string            `json:"Id"`
		Names           []string          `json:"Names"`
		Image           string            `json:"Image"`
		State           string            `json:"State"`
		Created         int64             `json:"Created"`
		Labels          map[string]string `json:"Labels"`
		NetworkSettings struct {
			Networks networks `json:"Networks"`
		} `json:"NetworkSettings"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("decode the engine's list of containers: %w", err)
	}
	out := make([]engine.Details, 0, len(list))
	for _, c := range list {
		if !engine.IsID(c.ID) {
			continue
		}
		out = append(out, engine.Details{
			Container: newContainer(c.ID, ownName(c.Names), c.Image, c.Labels),
			Running:   c.State == "running" || c.State == "paused" || c.State == "restarting",
			Created:   c.Created * 1e9,
			Addresses: c.NetworkSettings.Networks.attachments(),
		})
	}
	return out, nil
}

// ownName picks the container's name from among the legacy links to it, which
// have a second slash.
func ownName(names []string) string {
	for _, n := range names {
		if strings.Count(n, "/") <= 1 {
			return n
		}
	}
	return ""
}

// decodeInspect reads GET /containers/ID/json.
func decodeInspect(body []byte) (engine.Details, error) {
	var c struct {
		ID    string `json:"Id"`
		Name  string `json:"Name"`
		State struct {
			Running bool `json:"Running"`
		} `json:"State"`
		Config struct {
			Image  string            `json:"Image"`
			Labels map[string]string `json:"Labels"`
		} `json:"Config"`
		NetworkSettings struct {
			Networks networks `json:"Networks"`
		} `json:"NetworkSettings"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return engine.Details{}, fmt.Errorf("decode a container of the engine: %w", err)
	}
	if !engine.IsID(c.ID) {
		return engine.Details{}, fmt.Errorf("decode a container of the engine: no id in the answer")
	}
	return engine.Details{
		Container: newContainer(c.ID, c.Name, c.Config.Image, c.Config.Labels),
		Running:   c.State.Running,
		Addresses: c.NetworkSettings.Networks.attachments(),
	}, nil
}
