package process

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
)

// entry is one process. The Process values made of it are published and never
// change; a change of the process makes new ones.
type entry struct {
	id       kprobes.ProcessID
	ppid     uint32
	born     int64 // unix ns, when the table heard of it
	changed  int64 // unix ns of the last fork or exec
	exited   int64 // unix ns, 0 while it runs
	image    *image
	exec     uint32  // kprobes.ProcessEvent.Exec of image; 0: not told
	past     []ended // images before it
	shown    []shown
	asked    int64 // unix ns of the question that is open, 0 none
	answered bool  // /proc has nothing to add
	adopted  bool  // no event told of it
	// awaited is the image an owner ran whose exec has not been told yet.
	awaited   uint32
	awaitedAt uint64 // tick
}

// ended is an image that the process runs no more: its sockets may still name it.
type ended struct {
	exec  uint32
	image *image
}

// maxPast bounds the images kept of one process: a connection of the image before
// the one before that ran exec twice within an interval.
const maxPast = 3

// shown is a Process as one kind of owner saw it: a daemon binds as root and
// serves as somebody else, and its sockets keep what they saw.
type shown struct {
	uid     uint32
	v2, v1  uint64
	image   *image
	version uint32
	unit    bool // the unit is final
	process *correlate.Process
}

// maxShown bounds the variants of one process.
const maxShown = 4

// Table holds the processes of this host. Its methods belong to one goroutine
// (the collector's), except Run. Lookup never blocks and does no I/O.
type Table struct {
	cfg       Config
	redactor  *Redactor
	users     *users
	procs     map[kprobes.ProcessID]*entry
	live      map[uint32]uint64 // PID → start of the process that has it now
	gone      exitQueue
	ticks     uint64
	swept     int64
	stats     Stats
	questions chan question
	answers   chan answer
	sweepAsk  chan int64
	sweeps    chan sweep
}

// New returns an empty table for a valid configuration.
func New(cfg Config) *Table {
	cfg = cfg.withDefaults()
	return &Table{
		cfg: cfg, redactor: NewRedactor(cfg.Cmdline), users: newUsers(cfg.Passwd),
		procs: map[kprobes.ProcessID]*entry{}, live: map[uint32]uint64{},
		questions: make(chan question, maxQuestions), answers: make(chan answer, maxAnswers),
		sweepAsk: make(chan int64, 1), sweeps: make(chan sweep, 1),
	}
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Processes, s.Exited = len(t.procs), t.gone.len()
	return s
}

// Resync asks for a comparison with /proc at the next Tick: call it when events
// were lost.
func (t *Table) Resync() { t.swept = 0 }

// Process takes an event in the life of a process.
func (t *Table) Process(ev *kprobes.ProcessEvent) {
	switch ev.Kind {
	case kprobes.ProcessExisting:
		t.stats.Existing++
		t.exec(ev)
	case kprobes.ProcessFork:
		t.stats.Forks++
		t.fork(ev)
	case kprobes.ProcessExec:
		t.stats.Execs++
		t.exec(ev)
	case kprobes.ProcessExit:
		t.stats.Exits++
		if e := t.procs[ev.ProcessID]; e != nil {
			t.exit(e, ev.Time)
		}
	}
}

func (t *Table) fork(ev *kprobes.ProcessEvent) {
	e := t.entry(ev)
	if e == nil || e.image != nil {
		return
	}
	if ev.Parent.PID == 2 {
		e.image = imageOf(ev)
		return
	}
	if parent := t.procs[ev.Parent]; parent != nil {
		e.image = parent.ran(ev.Exec)
	}
	if e.image == nil {
		e.image = guessedImage(ev.Comm)
	}
}

// ran returns the image the process ran after so many execs, nil when it is not known.
func (e *entry) ran(exec uint32) *image {
	if exec == e.exec || e.exec == 0 { // 0: found by the scan, which cannot tell
		return e.image
	}
	for _, p := range e.past {
		if p.exec == exec {
			return p.image
		}
	}
	return nil
}

// exec gives a process a new image; records keep the Process they hold.
func (t *Table) exec(ev *kprobes.ProcessEvent) {
	e := t.entry(ev)
	if e == nil {
		return
	}
	if ev.Kind == kprobes.ProcessExisting && e.image != nil && !e.image.guessed {
		return // an event came first and knows more
	}
	e.become(imageOf(ev), ev.Exec, ev.Time)
	e.ppid, e.adopted = ev.Parent.PID, false
}

// become gives the process another image. The one before stays for the owners
// that still mean it.
func (e *entry) become(img *image, exec uint32, at int64) {
	if e.image != nil && e.exec != exec {
		e.remember(e.exec, e.image)
	}
	e.image, e.exec = img, exec
	e.changed, e.asked, e.answered, e.awaited = at, 0, false, 0
}

func (e *entry) remember(exec uint32, img *image) {
	if len(e.past) == maxPast {
		e.past = append(e.past[:0], e.past[1:]...)
	}
	e.past = append(e.past, ended{exec, img})
}

// entry returns the process of an event, made when it is new; nil when the table
// is full.
func (t *Table) entry(ev *kprobes.ProcessEvent) *entry {
	if e := t.procs[ev.ProcessID]; e != nil {
		return e
	}
	if e := t.rekey(ev.ProcessID); e != nil {
		e.adopted, e.exec = false, ev.Exec
		return e
	}
	return t.insert(&entry{
		id: ev.ProcessID, exec: ev.Exec, ppid: ev.Parent.PID, born: ev.Time, changed: ev.Time,
	})
}

// rekey gives a process found by the scan, whose start is known to a tick only,
// its exact identity.
func (t *Table) rekey(id kprobes.ProcessID) *entry {
	start, ok := t.live[id.PID]
	if !ok || start%tick != 0 || !sameStart(id.Start, start) {
		return nil
	}
	old := kprobes.ProcessID{PID: id.PID, Start: start}
	e := t.procs[old]
	if e == nil || e.exited != 0 || !e.adopted {
		return nil
	}
	delete(t.procs, old)
	e.id, e.shown = id, nil
	t.procs[id], t.live[id.PID] = e, id.Start
	return e
}

func (t *Table) insert(e *entry) *entry {
	if len(t.procs) >= t.cfg.MaxProcesses {
		if t.gone.len() == 0 {
			t.stats.Refused++
			return nil
		}
		t.stats.Evicted++
		t.forget()
	}
	if start, ok := t.live[e.id.PID]; ok && start < e.id.Start {
		if old := t.procs[kprobes.ProcessID{PID: e.id.PID, Start: start}]; old != nil {
			t.exit(old, e.born) // its end was not reported
		}
	}
	t.procs[e.id] = e
	if start := t.live[e.id.PID]; start < e.id.Start {
		t.live[e.id.PID] = e.id.Start
	}
	return e
}

// exit starts the grace time of a process.
func (t *Table) exit(e *entry, at int64) {
	if e.exited != 0 {
		return
	}
	e.exited = at
	if t.live[e.id.PID] == e.id.Start {
		delete(t.live, e.id.PID)
	}
	t.gone.push(exited{e.id, at})
	for t.gone.len() > t.cfg.MaxExited {
		t.stats.Evicted++
		t.forget()
	}
}

func (t *Table) forget() { delete(t.procs, t.gone.pop().id) }

// Lookup returns the process behind an owner, as it was when the owner was
// seen. pending says that more will be known soon. It is nil when the owner
// names no process. For a process looked up before with the same owner it
// allocates nothing. now is unix ns.
func (t *Table) Lookup(owner *kprobes.Owner, now int64) (p *correlate.Process, pending bool) {
	if !owner.Known() {
		return nil, false
	}
	t.stats.Lookups++
	e := t.procs[owner.ProcessID]
	if e == nil {
		e = t.adopt(owner, now)
	}
	img := t.imageFor(e, owner, now)
	if img == nil { // its exec is still on its way
		return t.build(e, owner, guessedImage(owner.Comm)).process, true
	}
	pending = t.pursue(e, img, now)
	for i := range e.shown {
		s := &e.shown[i]
		if s.image != img || s.uid != owner.UID || s.v2 != owner.CgroupV2 || s.v1 != owner.CgroupV1 {
			continue
		}
		young := now-e.changed < int64(patience)
		if s.version != img.version || !s.unit && young {
			*s = t.build(e, owner, img)
		}
		return s.process, pending || !s.unit && young
	}
	s := t.build(e, owner, img)
	if len(e.shown) == maxShown {
		copy(e.shown, e.shown[1:])
		e.shown = e.shown[:maxShown-1]
	}
	e.shown = append(e.shown, s)
	return s.process, pending || !s.unit && now-e.changed < int64(patience)
}

// adopt makes a process of what its socket says: its events were lost.
func (t *Table) adopt(owner *kprobes.Owner, now int64) *entry {
	t.stats.Unknown++
	if e := t.rekey(owner.ProcessID); e != nil {
		return e
	}
	e := &entry{
		id: owner.ProcessID, born: now, changed: now, adopted: true, image: guessedImage(owner.Comm), exec: owner.Exec,
	}
	t.insert(e) // not remembered when full: the answer is good all the same
	return e
}

// adoptScanned takes a process found in /proc.
func (t *Table) adoptScanned(s *snapshot, now int64) {
	if start, ok := t.live[s.pid]; ok {
		e := t.procs[kprobes.ProcessID{PID: s.pid, Start: start}]
		if e != nil && e.image.guessed && sameStart(start, s.start) {
			e.image.learn(s)
		}
		return
	}
	img := &image{exe: s.exe, guessed: true}
	copy(img.comm[:len(img.comm)-1], s.comm)
	e := t.insert(&entry{
		id: kprobes.ProcessID{PID: s.pid, Start: s.start}, ppid: s.ppid,
		born: now, changed: now, adopted: true, answered: true, image: img,
	})
	if e != nil {
		img.learn(s)
		t.stats.Scanned++
	}
}

// imageFor says which image the owner ran when it was seen; nil means one whose
// exec has not been told yet.
func (t *Table) imageFor(e *entry, owner *kprobes.Owner, now int64) *image {
	if e.exec == 0 {
		e.exec = owner.Exec
	}
	if img := e.ran(owner.Exec); img != nil {
		return img
	}
	switch {
	case owner.Exec < e.exec:
		img := guessedImage(owner.Comm) // forgotten, or never told
		if len(e.past) < maxPast {
			e.remember(owner.Exec, img)
		}
		return img
	case owner.Exec != e.awaited:
		e.awaited, e.awaitedAt = owner.Exec, t.ticks
		return nil
	case t.ticks <= e.awaitedAt+1:
		return nil
	}
	e.become(guessedImage(owner.Comm), owner.Exec, now) // lost
	return e.image
}

// pursue asks /proc for what is missing and says whether that may still come.
func (t *Table) pursue(e *entry, img *image, now int64) bool {
	if img != e.image || img.complete() || e.answered || e.exited != 0 && !e.adopted {
		return false
	}
	if e.asked == 0 {
		t.ask(e, now)
	} else if now-e.asked > int64(patience) {
		return false
	}
	return true
}

// source says where what img tells of a process came from.
func (e *entry) source(img *image) correlate.ProcessSource {
	switch {
	case img.guessed:
		return correlate.SourceSocket
	case e.adopted:
		return correlate.SourceProc
	}
	return correlate.SourceEvents
}

func (t *Table) build(e *entry, owner *kprobes.Owner, img *image) shown {
	unit, known := t.cfg.Unit(owner.CgroupV2, owner.CgroupV1)
	return shown{
		uid: owner.UID, v2: owner.CgroupV2, v1: owner.CgroupV1, image: img, version: img.version, unit: known,
		process: &correlate.Process{
			PID: e.id.PID, Start: t.cfg.Wall(e.id.Start), Booted: e.id.Start, Name: img.name, Exe: img.exe,
			Cmdline: img.command(t.redactor), User: t.users.name(owner.UID), UID: owner.UID,
			PPID: e.ppid, Unit: clean(unit), Source: e.source(img),
		},
	}
}
