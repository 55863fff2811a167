package influxd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tick is the unit of times in /proc/PID/stat (USER_HZ).
const tick = 10 * time.Millisecond

// CPUTime is what the server has used since its start; 0 of one that Start did not
// run.
func (s *Server) CPUTime(t testing.TB) time.Duration {
	t.Helper()
	if s.cmd == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// after the name, which may hold anything: state is the third field
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var sum time.Duration
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseUint(f, 10, 63)
		if err != nil {
			t.Fatalf("/proc/PID/stat: %v in %s", err, b)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// Quiet waits until the server does next to nothing any more.
func (s *Server) Quiet(t testing.TB) {
	t.Helper()
	for quiet, tries := 0, 0; quiet < 3; tries++ {
		before := s.CPUTime(t)
		time.Sleep(time.Second)
		if s.CPUTime(t)-before > 5*tick {
			quiet = 0
		} else {
			quiet++
		}
		if tries > 3600 {
			t.Fatal("the server is busy for an hour, and nobody asks it for anything")
		}
	}
}
