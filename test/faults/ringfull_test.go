package faults

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

// The reader stands still while more connections end than the ring holds: what
// is lost is counted, what comes later is seen, and a connection whose end was
// lost does not stay open for ever.
func TestCaseB8_RingBufferFull(t *testing.T) {
	needsRoot(t)
	out := filepath.Join(t.TempDir(), "rows")
	p := run(t, "--sink", "file:"+out, "--journal", "", "--listen", "", "--flow-log-rate", "1000000")
	p.WaitLog(t, "msg=ready")
	s := listen(t)
	ends, lives := s.dial(t), s.dial(t)
	until(t, "both long connections are known", func() bool { return strings.Contains(read(out), "active=2i") })

	p.Signal(t, syscall.SIGSTOP)
	const storm = 12000 // two records each: twice what 4 MiB hold
	s.connect(t, storm)
	finish(t, ends)
	p.Signal(t, syscall.SIGCONT)

	until(t, "the loss is told", func() bool { return lostEnds(read(out)) > 0 })
	later := s.connect(t, 50)
	s.has(t, out, later)
	port := func(c net.Conn) string { return fmt.Sprintf("client_port=%di", c.LocalAddr().(*net.TCPAddr).Port) }
	ended := func(c net.Conn) bool {
		for _, line := range strings.Split(read(out), "\n") {
			if strings.HasPrefix(line, "flow_log,") && strings.Contains(line, port(c)) && strings.Contains(line, "end_reason=end") {
				return true
			}
		}
		return false
	}
	// Where snapshots go by descriptors a minute passes until it is certain.
	probe.Until(t, 3*patience, "the connection whose end was lost is closed", func() error {
		if !ended(ends) {
			return errors.New("not yet")
		}
		return nil
	})
	if ended(lives) {
		t.Error("a connection that lives was closed")
	}
	finish(t, lives)
	p.Stop(t)

	lines := read(out)
	lost := lostEnds(lines)
	_, count := s.ended(lines)
	seen := 0
	for _, n := range count {
		seen += n
	}
	// Of a connection one end or both may be lost: a row needs one of them.
	made := storm + len(later) + 2
	if lost == 0 || seen > made || 2*(made-seen) > lost {
		t.Errorf("%d connections, %d rows, %d lost ends: they do not add up", made, seen, lost)
	}
	if !ended(lives) {
		t.Error("the connection that lived has no row")
	}
	t.Logf("%d connections, %d rows, %d ends counted as lost", made, seen, lost)
}

// lostEnds is how many ends of connections the rows say were lost.
func lostEnds(lines string) (lost int) {
	for _, m := range regexp.MustCompile(`lost_closed=(\d+)i`).FindAllStringSubmatch(lines, -1) {
		n, _ := strconv.Atoi(m[1])
		lost += n
	}
	return lost
}
