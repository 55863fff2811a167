package usage

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// Process is one process to be read.
type Process struct {
	PID uint32
	// Start is when it began, ns of CLOCK_BOOTTIME: another of the same number has
	// another one.
	Start uint64
	// Born is the same in unix ns.
	Born int64
}

// What is read of a process, see proc(5).
var (
	processStat = file{"stat", "", nil} // its parser also tells the start
	processIO   = file{"io", "", pairs(keyed{"read_bytes:", ReadOctets, 1}, keyed{"write_bytes:", WriteOctets, 1})}
)

// readProcesses reads those of the round. One that was read before comes first, as
// with groups.
func (s *Sampler) readProcesses(r *Round) {
	for i, p := range r.Processes {
		if st := s.processes[p]; st != nil {
			s.sampleProcess(r, i, st)
		}
	}
	for i, p := range r.Processes {
		if s.processes[p] != nil {
			continue
		}
		if len(s.processes) >= s.cfg.MaxProcesses {
			s.stats.ProcessesRefused++
			continue
		}
		st := new(state)
		if s.asked != 0 && p.Born > s.asked {
			st.before.has = 1<<Counters - 1
		}
		s.processes[p] = st
		s.sampleProcess(r, i, st)
	}
	for p, st := range s.processes {
		if st.round != s.stats.Rounds {
			delete(s.processes, p)
		}
	}
}

// sampleProcess reads one process; what has its number by now is not it.
func (s *Sampler) sampleProcess(r *Round, i int, st *state) {
	if st.round == s.stats.Rounds {
		return
	}
	p := &r.Processes[i]
	s.reader.path = strconv.AppendUint(append(append(s.reader.path[:0], s.cfg.Proc...), '/'), uint64(p.PID), 10)
	r.ProcessSamples = append(r.ProcessSamples, Sample{Index: i})
	x := &r.ProcessSamples[len(r.ProcessSamples)-1]
	b, err := s.reader.read(processStat.name)
	var start uint64
	ok := false
	if err == nil {
		s.stats.Files++
		if start, ok = parseProcessStat(b, &x.Reading); !ok {
			s.stats.Garbage++
		}
	} else if !missing(err) {
		s.stats.Unreadable++
	}
	if !ok || !sameTick(p.Start, start) {
		s.stats.ProcessesEnded++ // forgotten at the round's end
		r.ProcessSamples = r.ProcessSamples[:len(r.ProcessSamples)-1]
		return
	}
	b, err = s.reader.read(processIO.name)
	s.parse(&processIO, b, err, &x.Reading)
	if n := s.reader.size("fd"); n > 0 {
		x.Set(OpenFiles, n)
	}
	st.round = s.stats.Rounds
	s.stats.Fell += x.since(&st.before)
}

// sameTick compares a start in ns with one in ticks; one of a process that was found
// by a scan is not more exact than a tick.
func sameTick(ns, ticks uint64) bool {
	d := int64(ns/tick) - int64(ticks)
	return -1 <= d && d <= 1
}

// Places in /proc/PID/stat behind the command, which ends at the last parenthesis and
// may hold anything: state is place 0 and field 3 of proc(5).
const (
	statUser    = 11
	statSystem  = 12
	statThreads = 17
	statStart   = 19
	statRSS     = 21 // pages
)

var pageSize = uint64(unix.Getpagesize())

// parseProcessStat reads /proc/PID/stat; start is in ticks of CLOCK_BOOTTIME.
func parseProcessStat(b []byte, r *Reading) (start uint64, ok bool) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 || end+2 > len(b) {
		return 0, false
	}
	b = bytes.TrimSuffix(b[end+2:], []byte("\n"))
	was := *r
	for place := 0; place <= statRSS; place++ {
		var word []byte
		word, b = cut(b, ' ')
		scale, value := uint64(1), Value(0)
		switch place {
		case statUser:
			value, scale = CPUUser, tick
		case statSystem:
			value, scale = CPUSystem, tick
		case statThreads:
			value = Threads
		case statStart:
		case statRSS:
			value, scale = Resident, pageSize
		default:
			continue
		}
		n, good := scaled(word, scale)
		if !good {
			*r = was
			return 0, false
		}
		if place == statStart {
			start = n
			continue
		}
		r.Set(value, n)
	}
	return start, true
}
