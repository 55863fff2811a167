package usage

import "time"

// read fills in what is asked for. Groups that were read before come first, so that
// new ones do not take their place.
func (s *Sampler) read(r *Round) {
	began := time.Now()
	s.stats.Rounds++
	if s.layout == nil && !s.find() {
		s.stats.Refused += uint64(len(r.Groups))
		s.readProcesses(r)
		s.asked = r.Asked
		r.Stats = s.stats
		r.Stats.Processes = len(r.ProcessSamples)
		return
	}
	for i, g := range r.Groups {
		if st := s.states[g]; st != nil {
			s.sample(r, i, st)
		}
	}
	for i, g := range r.Groups {
		if s.states[g] != nil {
			continue
		}
		if len(s.states) >= s.cfg.MaxGroups {
			s.stats.Refused++
			continue
		}
		s.sample(r, i, s.remember(g))
	}
	for g, st := range s.states {
		if st.round != s.stats.Rounds {
			delete(s.states, g)
		}
	}
	s.readProcesses(r)
	s.readHost(r)
	s.asked = r.Asked
	r.Stats = s.stats
	r.Stats.Groups, r.Stats.Processes = len(r.Samples), len(r.ProcessSamples)
	r.Seconds = time.Since(began).Seconds()
}

// find looks for the mounts; until there are some it looks each round.
func (s *Sampler) find() bool {
	l := s.cfg.Layout
	if l == nil {
		var err error
		if l, err = FindLayout(s.cfg.Proc); err != nil {
			s.stats.Unreadable++
			if s.stats.Unreadable == 1 {
				s.cfg.Logger.Warn("nothing is known of what containers use", "error", err)
			}
			return false
		}
	}
	s.layout = l
	return true
}

// remember begins with a group. All that one born since the round before has used
// belongs to this one; what another has used until now does not.
func (s *Sampler) remember(g Group) *state {
	st := new(state)
	if s.asked != 0 && g.Born > s.asked {
		st.before.has = 1<<Counters - 1
	}
	s.states[g] = st
	return st
}

// sample reads one group; one that is asked for twice is told once.
func (s *Sampler) sample(r *Round, i int, st *state) {
	if st.round == s.stats.Rounds {
		return
	}
	r.Samples = append(r.Samples, Sample{Index: i})
	x := &r.Samples[len(r.Samples)-1]
	files := s.stats.Files
	for c := range s.layout.of {
		p := &s.layout.of[c]
		var ok bool
		if s.reader.path, ok = p.appendPath(s.reader.path[:0], r.Groups[i].Path); ok {
			s.readFiles(p.files, &x.Reading)
		}
	}
	if s.stats.Files == files {
		s.stats.Ended++ // forgotten at the round's end
		r.Samples = r.Samples[:len(r.Samples)-1]
		return
	}
	st.round = s.stats.Rounds
	x.finish()
	s.stats.Fell += x.since(&st.before)
}

// readFiles reads the files of one controller in the directory s.reader.path.
func (s *Sampler) readFiles(files []file, into *Reading) {
	for i := range files {
		f := &files[i]
		b, err := s.reader.read(f.name)
		if err != nil && missing(err) && f.instead != "" {
			b, err = s.reader.read(f.instead)
		}
		s.parse(f, b, err, into)
	}
}

func (s *Sampler) parse(f *file, b []byte, err error, into *Reading) {
	if err != nil {
		if !missing(err) {
			s.stats.Unreadable++
		}
		return
	}
	s.stats.Files++
	was := *into
	if !f.parse(b, into) {
		*into = was
		s.stats.Garbage++
	}
}

// vmstat counts on the whole host (mm/vmstat.c).
var vmstat = file{"vmstat", "", pairs(keyed{"oom_kill", OOMKills, 1})}

func (s *Sampler) readHost(r *Round) {
	x := &s.hostNow
	*x = Reading{}
	s.reader.path = append(s.reader.path[:0], s.cfg.Proc...)
	b, err := s.reader.read(vmstat.name)
	s.parse(&vmstat, b, err, x)
	x.since(&s.host)
	r.HostOOMKills = x.Get(OOMKills)
}
