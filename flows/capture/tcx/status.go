package tcx

import "sort"

// Feature says whether something optional works, and if not, why.
type Feature struct {
	Available bool   `json:"available"`
	Reason    string `json:"reason,omitempty"`
}

// Status is what weir doctor reports of the packet path.
type Status struct {
	NAT     Feature
	Devices []DeviceStatus // by ifindex
}

// DeviceStatus is how one device is metered.
type DeviceStatus struct {
	Name     string `json:"name"`
	Ifindex  int    `json:"ifindex"`
	LinkType string `json:"link_type"`
	State    State  `json:"state"`
	Mode     Mode   `json:"mode,omitempty"`   // tcx or tc, when attached
	Reason   string `json:"reason,omitempty"` // why it is not attached
	Remedy   string `json:"remedy,omitempty"` // what to do about it
}

// State of a device.
type State string

const (
	StateAttached State = "attached"
	StateFailed   State = "failed"
	StateSkipped  State = "skipped" // by configuration or link type
)

// Status may be called from any goroutine.
func (m *Meter) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{NAT: m.nat}
	for _, d := range m.devs {
		s.Devices = append(s.Devices, DeviceStatus{
			Name: d.name, Ifindex: d.ifindex, LinkType: d.linkType,
			State: d.state, Mode: d.mode, Reason: d.reason, Remedy: d.remedy,
		})
	}
	sort.Slice(s.Devices, func(i, j int) bool { return s.Devices[i].Ifindex < s.Devices[j].Ifindex })
	return s
}
