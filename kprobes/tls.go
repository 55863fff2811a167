package kprobes

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// userPrograms are the programs for functions of TLS libraries; package tls
// attaches them where they are wanted.
var userPrograms = []string{
	"ssl_read", "ssl_read_ex", "ssl_write", "ssl_write_ex", "ssl_return", "ssl_handshake", "ssl_handshake_return", "ssl_free",
	"go_read", "go_write", "go_return", "go_handshake", "go_handshake_return",
}

// TLSStats counts what the programs inside TLS libraries did since Load. In the
// order of enum tls_stat.
type TLSStats struct {
	Calls      uint64 // that moved octets of a connection whose socket is known
	Octets     uint64
	Unbound    uint64 // calls of connections whose socket is not known
	Unreadable uint64 // buffers that could not be read
	Bound      uint64 // connections whose socket was found
	Full       uint64 // calls and connections for which there was no room
}

const tlsStats = 6

func (s *TLSStats) kernel() [tlsStats]*uint64 {
	return [tlsStats]*uint64{&s.Calls, &s.Octets, &s.Unbound, &s.Unreadable, &s.Bound, &s.Full}
}

// loadUser loads the programs inside TLS libraries, if they are asked for; what is
// refused is told by TLSReady.
func (s *Set) loadUser() {
	if !s.cfg.TLS {
		return
	}
	s.userErrs = map[string]error{}
	for _, name := range userPrograms {
		prog, err := s.loadProgram(&probe{program: name, object: objTLS}, nil)
		if err != nil {
			s.log.Debug("load BPF program", "program", name, "error", fmt.Sprintf("%+v", err))
			s.userErrs[name] = err
			continue
		}
		s.programs[name] = prog
	}
}

// SetTLS loads and attaches what looks inside TLS libraries, or takes it down, after
// Attach, for a configuration that has changed; the rest goes on. What the kernel refuses
// TLSReady tells. Whoever attaches user programs must have ended before.
func (s *Set) SetTLS(on bool) error {
	if on == s.cfg.TLS {
		return nil
	}
	if !on {
		return s.unloadTLS()
	}
	cfg := s.cfg
	cfg.TLS = true
	if err := cfg.validateTLS(); err != nil {
		return err
	}
	s.cfg, s.btf = cfg, btf.NewCache()
	defer func() { s.btf, s.specs = nil, [objects]*ebpf.CollectionSpec{} }()
	if err := s.loadObject(objTLS); err != nil {
		return errors.Join(err, s.unloadTLS())
	}
	for i := range probes {
		if probes[i].tls && s.loadProbe(i) {
			s.attach(i, nil, nil)
		}
	}
	s.markFallbacks()
	s.loadUser()
	return nil
}

// unloadTLS leaves nothing of it in the kernel.
func (s *Set) unloadTLS() error {
	var errs []error
	names := slices.Clone(userPrograms)
	for i := range probes {
		if probes[i].tls {
			names = append(names, probes[i].program)
			s.errs[i], s.status[i].State, s.status[i].Reason = nil, StateOff, leftOut
		}
	}
	for _, name := range names {
		if l := s.links[name]; l != nil {
			errs = append(errs, l.Close())
		}
		if p := s.programs[name]; p != nil {
			errs = append(errs, p.Close())
		}
		delete(s.links, name)
		delete(s.programs, name)
	}
	for _, m := range s.maps[objTLS] {
		errs = append(errs, m.Close())
	}
	s.maps[objTLS], s.userErrs, s.cfg.TLS = nil, nil, false
	return errors.Join(errs...)
}

// TLSReady says why TLS libraries can't be looked into, nil if they can.
func (s *Set) TLSReady() error {
	if !s.cfg.TLS {
		return errors.New(leftOut)
	}
	for _, name := range slices.Sorted(maps.Keys(s.userErrs)) {
		return fmt.Errorf("load %s: %w", name, s.userErrs[name])
	}
	if st := s.status[probeIndex("tls_received")]; st.State != StateAttached {
		return fmt.Errorf("%s: %s", st.Probe, st.Reason)
	}
	return nil
}

// validateTLS says whether the programs exist for this machine.
func (c *Config) validateTLS() error {
	switch {
	case !c.TLS:
		return nil
	case runtime.GOARCH != "amd64":
		return fmt.Errorf("inside TLS: on %s there are no programs, only on amd64", runtime.GOARCH)
	case !c.Payload || c.PayloadOctets == PayloadNone:
		return errors.New("inside TLS: payload must be copied")
	}
	return nil
}

// UserProgram returns a program for a function of a TLS library, nil where it
// could not be loaded. The Set owns it.
func (s *Set) UserProgram(name string) *ebpf.Program { return s.programs[name] }

// TLSGroup is a control group by its kernfs id, of the v2 hierarchy or of v1's for
// memory: struct tls_group.
type TLSGroup struct {
	ID     uint64
	Legacy uint64 // 1: of v1
}

// SelectTLS says whether the processes of a control group are looked into.
// It may be called from any goroutine until Close.
func (s *Set) SelectTLS(group TLSGroup, on bool) error {
	m := s.maps[objTLS]["tls_groups"]
	if m == nil {
		return nil
	}
	var err error
	if on {
		err = m.Update(group, uint8(1), ebpf.UpdateAny)
	} else if err = m.Delete(group); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("select control group %d: %w", group.ID, err)
	}
	return nil
}

// TLSStats returns the counters as they stand; zero without TLS.
func (s *Set) TLSStats() TLSStats {
	var st TLSStats
	m := s.maps[objTLS]["tls_stats"]
	if m == nil {
		return st
	}
	for i, d := range st.kernel() {
		if err := m.Lookup(uint32(i), &s.perCPU); err != nil {
			s.log.Error("read counters of TLS", "error", err)
			break
		}
		for _, v := range s.perCPU {
			*d += v
		}
	}
	return st
}
