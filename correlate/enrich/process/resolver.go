package process

import (
	"context"
	"errors"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

const (
	maxQuestions = 1024
	maxAnswers   = 1024
	maxPerTick   = 8192
	// patience is how long an answer is awaited before the caller is told that
	// nothing more will come.
	patience = 5 * time.Second
	// usersEvery is how often /etc/passwd is looked at.
	usersEvery = 30 * time.Second
)

// question asks the background what /proc says of a process while it ran image.
type question struct {
	id    kprobes.ProcessID
	image *image // only carried along, never read there
}

// answer is what it said. image is nil for what a scan found.
type answer struct {
	question
	snapshot
	err error
}

// sweep is a list of all PIDs there were at some time.
type sweep struct {
	asked int64
	pids  []uint32
}

// Run reads /proc for the table until ctx is done.
func (t *Table) Run(ctx context.Context) error {
	t.users.reload()
	if t.cfg.Scan {
		if err := t.scan(ctx); err != nil {
			t.cfg.Logger.Warn("processes that run already will be known late", "error", err)
		}
	}
	tick := time.NewTicker(usersEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.users.reload()
		case q := <-t.questions:
			s, err := readProcess(t.cfg.Proc, q.id)
			if !t.send(ctx, answer{q, s, err}) {
				return nil
			}
		case asked := <-t.sweepAsk:
			pids, err := listPIDs(t.cfg.Proc)
			if err != nil {
				t.cfg.Logger.Warn("ended processes may stay in memory", "error", err)
				continue
			}
			select {
			case t.sweeps <- sweep{asked, pids}:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// scan reads every process once; Tick takes them as they come.
func (t *Table) scan(ctx context.Context) error {
	pids, err := listPIDs(t.cfg.Proc)
	for _, pid := range pids {
		s, err := readAny(t.cfg.Proc, pid)
		if err != nil {
			continue // gone
		}
		if !t.send(ctx, answer{question{id: kprobes.ProcessID{PID: pid, Start: s.start}}, s, nil}) {
			return nil
		}
	}
	return err
}

func (t *Table) send(ctx context.Context, a answer) bool {
	select {
	case t.answers <- a:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask puts a question unless one is open; it never blocks.
func (t *Table) ask(e *entry, now int64) {
	select {
	case t.questions <- question{e.id, e.image}:
		t.stats.Asked++
		e.asked = now
	default:
		t.stats.QueueFull++
	}
}

// Tick takes what the background found and forgets what ended long enough ago.
// now is unix ns.
func (t *Table) Tick(now int64) {
	t.ticks++
	for range maxPerTick {
		select {
		case a := <-t.answers:
			t.take(&a, now)
			continue
		case s := <-t.sweeps:
			t.compare(s)
		default:
		}
		break
	}
	for t.gone.len() > 0 && t.gone.oldest().time+int64(t.cfg.Grace) <= now {
		t.forget()
	}
	if now-t.swept >= int64(t.cfg.Sweep) {
		select {
		case t.sweepAsk <- now:
		default:
		}
		t.swept = now
	}
}

// take applies one answer.
func (t *Table) take(a *answer, now int64) {
	if a.question.image == nil {
		t.adoptScanned(&a.snapshot, now)
		return
	}
	e := t.procs[a.id]
	if e == nil {
		return
	}
	e.asked, e.answered = 0, true
	switch {
	case errors.Is(a.err, errReused):
		t.stats.Reused++
		t.exit(e, now)
	case errors.Is(a.err, errChanged):
		t.stats.Changed++
		e.answered = false
	case a.err != nil:
		t.stats.Vanished++
		if a.question.image.guessed && e.adopted {
			t.exit(e, now) // no event will end what no event began
		}
	case a.question.image != e.image:
		t.stats.Changed++
		e.answered = false
	case e.image.learn(&a.snapshot):
		t.stats.Resolved++
		if e.ppid == 0 {
			e.ppid = a.ppid
			e.shown = nil
		}
	default:
		t.stats.Changed++
	}
}

// compare ends the processes that are not there any more.
func (t *Table) compare(s sweep) {
	there := make(map[uint32]struct{}, len(s.pids))
	for _, pid := range s.pids {
		there[pid] = struct{}{}
	}
	for pid, start := range t.live {
		if _, ok := there[pid]; ok {
			continue
		}
		if e := t.procs[kprobes.ProcessID{PID: pid, Start: start}]; e != nil && e.born < s.asked {
			t.stats.Swept++
			t.exit(e, s.asked)
		}
	}
}
