package tls

import "sync/atomic"

// Stats counts since New, except Groups, Files and Probes.
type Stats struct {
	Groups, Files, Probes uint64 // now
	Attached, Detached    uint64 // files
	Unattached            uint64 // files that have TLS functions and could not be given probes
	Refused               uint64 // times that a file was left out because there are too many
	Visits                uint64 // of processes
	Missed                uint64 // starts of processes left to the next round
	Errors                uint64
}

// File is a library or a program with probes.
type File struct {
	Path   string `json:"path"` // in the root of a process that runs it
	Kind   Kind   `json:"kind"`
	Probes int    `json:"probes"`
}

type counters struct {
	groups, probes                                                  atomic.Uint64
	attached, detached, unattached, refused, visits, missed, errors atomic.Uint64
	published                                                       uint64
}

func (c *counters) changes() uint64 { return c.attached.Load() + c.detached.Load() }

// Stats returns the counts.
func (m *Manager) Stats() Stats {
	c := &m.counters
	return Stats{
		Groups: c.groups.Load(), Files: uint64(len(m.Files())), Probes: c.probes.Load(),
		Attached: c.attached.Load(), Detached: c.detached.Load(), Unattached: c.unattached.Load(), Refused: c.refused.Load(),
		Visits: c.visits.Load(), Missed: c.missed.Load(), Errors: c.errors.Load(),
	}
}

// Files are those with probes now.
func (m *Manager) Files() []File { return *m.shown.Load() }
