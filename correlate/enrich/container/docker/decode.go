package docker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// Limits on what an engine, or who names containers in it, can make us keep, octets.
const (
	maxName  = 256
	maxImage = 512
	maxLabel = 256
	// maxAddresses bounds the addresses of one container.
	maxAddresses = 64
)

// Labels that Compose sets (v1 and v2 alike).
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelReplica = "com.docker.compose.container-number"
)

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

// attachment is an address of a container in one network.
type attachment struct {
	network string
	addr    flows.Addr
}

// details is what GET /containers/json and /containers/ID/json tell.
type details struct {
	container *correlate.Container
	running   bool
	created   int64 // unix ns
	addresses []attachment
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
	return &correlate.Container{
		ID: id, Name: limit(strings.TrimPrefix(name, "/"), maxName), Image: limit(image, maxImage),
		Project: limit(labels[labelProject], maxLabel), Service: limit(labels[labelService], maxLabel),
		Replica: limit(labels[labelReplica], maxLabel),
	}
}

// isID says whether s is a container id: nothing else becomes a key or a path.
func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// limit cuts s to n octets at a character's border; its content is data and is
// kept, whatever it is.
func limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}

// networks are the networks of a container, by name.
type networks map[string]struct {
	IPAddress         string `json:"IPAddress"`
	GlobalIPv6Address string `json:"GlobalIPv6Address"`
}

func (n networks) attachments() []attachment {
	var out []attachment
	for name, net := range n {
		for _, s := range []string{net.IPAddress, net.GlobalIPv6Address} {
			if a, err := netip.ParseAddr(s); err == nil && len(out) < maxAddresses {
				out = append(out, attachment{name, flows.AddrFrom(a)})
			}
		}
	}
	return out
}

// decodeList reads GET /containers/json; what has no proper id is left out.
func decodeList(body []byte) ([]details, error) {
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
	out := make([]details, 0, len(list))
	for _, c := range list {
		if !isID(c.ID) {
			continue
		}
		out = append(out, details{
			container: newContainer(c.ID, ownName(c.Names), c.Image, c.Labels),
			running:   c.State == "running" || c.State == "paused" || c.State == "restarting",
			created:   c.Created * 1e9,
			addresses: c.NetworkSettings.Networks.attachments(),
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
func decodeInspect(body []byte) (details, error) {
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
		return details{}, fmt.Errorf("decode a container of the engine: %w", err)
	}
	if !isID(c.ID) {
		return details{}, fmt.Errorf("decode a container of the engine: no id in the answer")
	}
	return details{
		container: newContainer(c.ID, c.Name, c.Config.Image, c.Config.Labels),
		running:   c.State.Running,
		addresses: c.NetworkSettings.Networks.attachments(),
	}, nil
}
