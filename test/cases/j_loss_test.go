package cases

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/probe"
)

// detour is a socket on the way to an engine's.
type detour struct {
	t        *testing.T
	to, path string
	ln       net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
}

func newDetour(t *testing.T, to string) *detour {
	t.Helper()
	d := &detour{t: t, to: strings.TrimPrefix(to, "unix://"), path: filepath.Join(t.TempDir(), "engine.sock"), open: map[net.Conn]bool{}}
	d.begin()
	t.Cleanup(d.end)
	return d
}

// begin listens, as an engine that has come up again does.
func (d *detour) begin() {
	d.t.Helper()
	ln, err := net.Listen("unix", d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	d.ln = ln
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("unix", d.to)
			if err != nil {
				_ = c.Close()
				continue
			}
			d.mu.Lock()
			d.open[c], d.open[there] = true, true
			d.mu.Unlock()
			for _, x := range [][2]net.Conn{{c, there}, {there, c}} {
				go func() {
					_, _ = io.Copy(x[0], x[1])
					_ = errors.Join(x[0].Close(), x[1].Close())
				}()
			}
		}
	}()
}

// end closes everything: the engine does not answer any more.
func (d *detour) end() {
	_ = d.ln.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.open {
		_ = c.Close()
	}
	clear(d.open)
}

// deploy starts the shop: two servers, and many clients, since what else goes on on this
// machine has owners.
func (s *shop) deploy() (ids []string) {
	for _, service := range []string{"api", "db"} {
		ids = append(ids, s.serve(firstVersion, service, 1))
	}
	for i := range 6 {
		ids = append(ids, s.run(firstVersion, "web", 1+i, connections("api:9000")...), s.run(firstVersion, "job", 1+i, connections("db:9000")...))
	}
	return ids
}

// J11: the engine does not answer any more, and all containers are replaced by others, so
// that nobody can say whose they are. What they do is no storm of unknown services, nor
// has anything gone quiet: that owners are missing is told, once. When the engine is back,
// nothing is new either.
func TestCaseJ11_OwnersLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "j11", someUnattributed)
	s.knows(habit{"web", "api", 1}, habit{"job", "db", 1})
	way := newDetour(t, s.Host)
	s.engine = way.path
	before := s.deploy()
	w := s.watch()
	w.nothing("with owners")

	way.end()
	s.deploy() // first: to remove those that were there takes a minute on a busy machine
	s.Docker(t, append([]string{"rm", "-f"}, before...)...)
	w.loses()
	nameless := w.all(t, "flow", func(x row) bool { return x.tag("client") == "container" && x.num("opened") > 0 })
	if len(nameless) < 60 {
		t.Errorf("%d rows of containers without a name", len(nameless))
	}
	w.nothing("without owners")

	way.begin()
	w.reaches(w.minute(2 * time.Minute))
	w.nothing("with owners again")
	w.loses()
	back := w.latest().Add(-time.Minute).UnixNano()
	named := w.all(t, "flow", func(x row) bool {
		return x.time > back && x.tag("client") == s.name("web") && x.tag("server") == s.name("api")
	})
	if len(named) == 0 {
		t.Error("the services have not got their names back")
	}
}

// loses waits until it is told that owners are missing, and wants that once, in the rows
// and as an alert.
func (w *watched) loses() {
	t, s := w.s.t, w.s
	t.Helper()
	losses := func() []row {
		return w.all(t, "event", func(x row) bool { return x.tag("type") == "attribution_loss" })
	}
	probe.Until(t, 6*time.Minute, "the loss is told", func() error {
		time.Sleep(time.Second)
		if len(losses()) == 0 || len(s.pager.typed("attribution_loss")) == 0 {
			rows := w.detector()
			return fmt.Errorf("not yet; the last row: %v", rows[len(rows)-1])
		}
		return nil
	})
	if rows, alerts := losses(), s.pager.typed("attribution_loss"); len(rows) != 1 || len(alerts) != 1 || rows[0].str("state") != "active" {
		t.Errorf("rows: %v, alerts: %+v", rows, alerts)
	}
}

// J11: after a restart weir may no more look at sockets, and no engine tells it of
// containers: all that it sees is packets between addresses. They are no new places
// elsewhere, nor has anything gone quiet: that owners are missing is told, once.
func TestCaseJ11_PacketsOnly(t *testing.T) {
	t.Parallel()
	s := newShop(t, "j11p", someUnattributed)
	s.knows(habit{"web", "api", 1}, habit{"job", "db", 1})
	way := newDetour(t, s.Host)
	s.engine = way.path
	s.deploy()
	w := s.watch()
	w.nothing("with owners")
	w.Stop(t)

	way.end()
	s.start = func(c *exec.Cmd) error {
		c.Args = append([]string{"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", c.Path}, c.Args[1:]...)
		c.Path, c.Err = exec.LookPath("setpriv")
		return c.Start()
	}
	w = s.watch("--packets", "afpacket")
	w.loses()
	w.nothing("without owners")
}

// typed are the alerts of a type.
func (p *pager) typed(kind string) (list []paged) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.alerts {
		if a.Type == kind {
			list = append(list, a)
		}
	}
	return list
}
