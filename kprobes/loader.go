package kprobes

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/bpf"
)

// Load creates the maps and loads every program by itself: what the kernel
// refuses is missing, the rest works. It fails only when nothing can work, with
// an error that names the remedy. Nothing is attached yet.
func Load(cfg Config) (*Set, error) {
	s, err := loadSet(cfg)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Probe loads and attaches everything, says what became of it, and takes it
// down again: for `weir doctor`. The statuses are valid with an error, too.
func Probe(cfg Config) ([]Status, error) {
	s, err := loadSet(cfg)
	if err == nil {
		err = s.Attach()
	}
	return s.Status(), errors.Join(err, s.Close())
}

// loadSet never returns nil: what there is of the Set can be asked for its status.
func loadSet(cfg Config) (*Set, error) {
	s := newSet(cfg.withDefaults())
	if err := cfg.Validate(); err != nil {
		return s, err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		s.log.Warn("raise memlock limit", "error", err)
	}
	if err := s.loadMaps(); err != nil {
		return s, err
	}
	for i := range probes {
		p := &probes[i]
		switch {
		case p.standsIn != "": // Attach will know whether it is needed
		case p.hot && s.cfg.NoIOHooks, p.payload && !s.cfg.Payload, p.tls && !s.cfg.TLS:
			s.status[i].State, s.status[i].Reason = StateOff, leftOut
		default:
			s.loadProbe(i)
		}
	}
	s.loadUser()
	return s, s.missingRequired()
}

// leftOut is why a probe is off that could be there.
const leftOut = "left out by configuration"

func (s *Set) loadMaps() error {
	for o := range object(objects) {
		if o == objPayload && !s.cfg.Payload || o == objTLS && !s.cfg.TLS {
			continue
		}
		if err := s.loadObject(o); err != nil {
			return err
		}
	}
	var err error
	for i, m := range []*ebpf.Map{s.maps[objProcess]["procev"], s.maps[objSocket]["events"]} {
		if s.rings[i], err = ringbuf.NewReader(m); err != nil {
			return fmt.Errorf("map ring buffer: %w", err)
		}
		s.rings[i].SetDeadline(longAgo) // never wait, only look
	}
	if err := s.nameReasons(); err != nil {
		return err
	}
	return s.openPayload()
}

// loadObject reads the programs of an object, sets what they are told by constants, and
// creates its maps.
func (s *Set) loadObject(o object) error {
	get := [objects]func() (*ebpf.CollectionSpec, error){objSocket: bpf.LoadSocket, objProcess: bpf.LoadProcess, objPayload: bpf.LoadL7, objDrop: bpf.LoadDrop, objTLS: bpf.LoadTls}
	spec, err := get[o]()
	if err != nil {
		return fmt.Errorf("read embedded BPF object: %w", err)
	}
	s.specs[o] = spec
	s.maps[o] = make(map[string]*ebpf.Map)
	if v := spec.Variables["turn_octets"]; v != nil {
		if err := v.Set(uint32(max(s.cfg.PayloadOctets, 0))); err != nil {
			return fmt.Errorf("set how much payload is copied: %w", err)
		}
	}
	if v := spec.Variables["window_exchanges"]; v != nil {
		if err := v.Set(uint32(max(float64(s.cfg.PayloadRate)/payloadWindows, 1))); err != nil {
			return fmt.Errorf("set how many exchanges are told: %w", err)
		}
	}
	for name, ms := range spec.Maps {
		if s.borrows(o, name) {
			continue
		}
		m, err := ebpf.NewMap(ms)
		if err != nil {
			return fmt.Errorf("create BPF map %s: %w (%s)", name, err, remedy(err))
		}
		s.maps[o][name] = m
	}
	return nil
}

// loadProbe loads the program of probes[i] and notes a failure in its status.
func (s *Set) loadProbe(i int) bool {
	p, st := &probes[i], &s.status[i]
	var types []*btf.Spec
	if p.conntrack {
		var why string
		if types, why = bpf.ConntrackTypes(); why != "" {
			st.State, st.Reason = StateMissing, why
			return false
		}
	}
	prog, err := s.loadProgram(p, types)
	if err != nil {
		st.State, st.Reason = explain(p, err)
		s.errs[i] = err
		s.log.Debug("load BPF program", "program", p.program, "error", fmt.Sprintf("%+v", err))
		return false
	}
	s.programs[p.program] = prog
	st.State, st.Reason = StateOff, "loaded, not attached yet"
	return true
}

// loadProgram loads one program on top of the maps that exist.
func (s *Set) loadProgram(p *probe, types []*btf.Spec) (*ebpf.Program, error) {
	spec := s.specs[p.object].Copy()
	spec.Programs = map[string]*ebpf.ProgramSpec{p.program: spec.Programs[p.program]}
	if !p.object.besideSockets() { // else there are some to set
		spec.Variables = nil
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: s.mapsFor(p.object),
		Cache:           s.btf,
		Programs:        ebpf.ProgramOptions{ExtraRelocationTargets: types},
	})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(p.program), nil
}

// mapsFor are the maps of an object, and those it shares with another.
func (s *Set) mapsFor(o object) map[string]*ebpf.Map {
	if !o.besideSockets() {
		return s.maps[o]
	}
	all := maps.Clone(s.maps[o])
	all["sk_ctx"] = s.maps[objSocket]["sk_ctx"]
	if o == objTLS {
		for _, name := range payloadMaps {
			all[name] = s.maps[objPayload][name]
		}
	}
	return all
}

// payloadMaps are those of the payload programs that the ones inside TLS use, too.
var payloadMaps = []string{"payload", "l7_stats", "l7_sock", "l7_wants", "l7_windows"}

// borrows says whether an object has no map of that name to itself: sk_ctx is the
// socket path's, which knows the owners; constants are each program's own.
func (s *Set) borrows(o object, name string) bool {
	return o.besideSockets() && (name == "sk_ctx" || name == ".rodata") || o == objTLS && slices.Contains(payloadMaps, name)
}

// Attach attaches what was loaded, and what stands in for the rest. Call it once:
// it lets go of what only loading needs, several MiB of type information.
func (s *Set) Attach() error {
	defer func() { s.btf, s.specs = nil, [objects]*ebpf.CollectionSpec{} }()
	root, rootErr := openCgroupRoot(&s.cfg)
	if rootErr != nil {
		s.log.Warn("datagrams and accepts will not be seen", "error", rootErr)
	} else {
		defer root.dir.Close()
	}
	for i := range probes {
		if probes[i].standsIn != "" && !s.neededInstead(i) {
			continue
		}
		s.attach(i, root, rootErr)
	}
	s.markFallbacks()
	if !s.AllSockets() {
		if err := s.maps[objSocket]["snapshots"].Put(uint32(snapshotByFiles), uint32(1)); err != nil {
			return fmt.Errorf("have connections told that wait to be accepted: %w", err)
		}
	}
	return s.missingRequired()
}

// neededInstead says whether the stand-in probes[i] has something to stand in
// for, and loads it if so.
func (s *Set) neededInstead(i int) bool {
	st := &s.status[i]
	switch first := s.status[probeIndex(probes[i].standsIn)]; {
	case first.State == StateAttached:
		st.State, st.Reason = StateOff, "not needed: "+first.Probe+" is attached"
	case first.State == StateOff:
		st.State, st.Reason = StateOff, leftOut
	default:
		return s.programs[probes[i].program] != nil || s.loadProbe(i)
	}
	return false
}

// attach attaches probes[i], if it is loaded, and notes in its status how that ended.
func (s *Set) attach(i int, root *cgroupRoot, rootErr error) {
	p, st := &probes[i], &s.status[i]
	prog := s.programs[p.program]
	if prog == nil {
		return // its status says why
	}
	err := rootErr
	if p.kind != kindCgroup || rootErr == nil {
		err = s.attachProbe(p, prog, root)
	}
	if err != nil {
		st.State, st.Reason = explain(p, err)
		s.errs[i] = err
		return
	}
	st.State, st.Reason = StateAttached, ""
	if p.kind == kindCgroup {
		st.Reason = root.note
	}
}

func (s *Set) attachProbe(p *probe, prog *ebpf.Program, root *cgroupRoot) error {
	switch p.kind {
	case kindTracing:
		l, err := link.AttachTracing(link.TracingOptions{Program: prog, AttachType: ebpf.AttachTraceRawTp})
		if err != nil {
			return err
		}
		s.links[p.program] = l
	case kindCgroup:
		if p.behind != "" && s.status[probeIndex(p.behind)].State == StateAttached {
			return s.maps[objPayload][behindMaps[p.behind]].Put(uint32(0), prog)
		}
		at := s.specs[p.object].Programs[p.program].AttachType
		l, err := link.AttachCgroup(link.CgroupOptions{Path: root.path(), Attach: at, Program: prog})
		if err != nil {
			return err
		}
		s.links[p.program] = l
	case kindIter, kindStorageIter:
		opts := link.IterOptions{Program: prog}
		if p.kind == kindStorageIter {
			opts.Map = s.maps[objSocket]["sk_ctx"]
		}
		it, err := link.AttachIter(opts)
		if err != nil {
			return err
		}
		s.iters[p.program] = it
	}
	return nil
}

// behindMaps are where a program finds the one it goes on to.
var behindMaps = map[string]string{"payload_egress": "behind_egress", "payload_ingress": "behind_ingress"}

// markFallbacks turns what is missing but stood in for into StateFallback.
func (s *Set) markFallbacks() {
	for i := range probes {
		p, st := &probes[i], &s.status[i]
		if p.fallback == "" || st.State != StateMissing && st.State != StateFailed {
			continue
		}
		if s.status[probeIndex(p.fallback)].State == StateAttached {
			st.State, st.Reason = StateFallback, st.Reason+"; "+p.fallback+" stands in"
		}
	}
}

func probeIndex(program string) int {
	for i := range probes {
		if probes[i].program == program {
			return i
		}
	}
	panic("kprobes: no probe " + program)
}

func (s *Set) missingRequired() error {
	for i := range probes {
		if st := s.status[i]; probes[i].required && (st.State == StateMissing || st.State == StateFailed) {
			return fmt.Errorf("attach %s: %w (%s)", st.Probe, s.errs[i], st.Reason)
		}
	}
	return nil
}

// enotsupp is the kernel's internal ENOTSUPP, which leaks out of bpf(2).
const enotsupp = syscall.Errno(524)

// explain turns the kernel's refusal into a state and a plain reason.
func explain(p *probe, err error) (State, string) {
	var verifier *ebpf.VerifierError
	switch {
	case p.kind == kindCgroup && errors.Is(err, errNoCgroup2):
		return StateFailed, err.Error()
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) && !errors.As(err, &verifier):
		return StateFailed, remedy(err)
	case errors.Is(err, btf.ErrNotFound), errors.Is(err, ebpf.ErrNotSupported),
		errors.Is(err, os.ErrNotExist), errors.Is(err, enotsupp):
		if r := remedy(err); r != "" {
			return StateMissing, r
		}
		return StateMissing, "this kernel does not have it: needs " + p.needs
	case errors.As(err, &verifier):
		return StateFailed, fmt.Sprintf("refused by the kernel's verifier: %v; needs %s", verifier, p.needs)
	}
	return StateFailed, fmt.Sprintf("%v; needs %s", err, p.needs)
}

// remedy says what to do about an error that concerns every program.
func remedy(err error) string {
	if _, statErr := os.Stat("/sys/kernel/btf/vmlinux"); statErr != nil {
		return "the kernel has no type information: it needs CONFIG_DEBUG_INFO_BTF"
	}
	// Without rights the library's own questions are refused, too, and it takes the
	// answers for those of an old kernel.
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, ebpf.ErrNotSupported) && os.Geteuid() != 0 {
		if os.Geteuid() != 0 {
			return "not permitted: run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
		}
		return "not permitted, though root: check capabilities, seccomp profile, lockdown and kernel.unprivileged_bpf_disabled"
	}
	return ""
}
