package cases

import (
	"syscall"
	"testing"
	"time"
)

// J7: a service and its client are replaced by another version, one container after the
// other, while traffic goes on: with another image and configuration, at other addresses,
// and the new version needs what the old one did not. None of it is told. Beside it,
// somebody who was not deployed talks to somebody new, and that is told.
func TestCaseJ7_RollingUpdate(t *testing.T) {
	t.Parallel()
	s := newShop(t, "j7", allUnattributed)
	s.knows(habit{"web", "api", 1}, habit{"job", "db", 1})
	api := s.serve(firstVersion, "api", 1)
	s.serve(firstVersion, "db", 1)
	web := s.run(firstVersion, "web", 1, connections("api:9000")...)
	s.run(firstVersion, "job", 1, connections("db:9000")...)
	w := s.watch()
	w.nothing("before the update")

	was := s.address["api"]
	s.serve(nextVersion, "api", 2)
	if s.address["api"] == was {
		t.Fatal("the new version has the old one's address")
	}
	s.run(nextVersion, "web", 2, connections("api:9000")...)
	s.Docker(t, "rm", "-f", web, api)
	s.run(nextVersion, "web", 1, connections("db:9000")...)
	updated := w.minute(0)
	// The minute in which they are left alone, and the next.
	w.reaches(updated.Add(3 * time.Minute))
	w.nothing("the update")

	for _, edge := range [][2]string{{"web", "api"}, {"web", "db"}, {"job", "db"}} {
		var n int64
		for _, x := range w.all(t, "flow", func(x row) bool { return x.tag("client") == s.name(edge[0]) && x.tag("server") == s.name(edge[1]) }) {
			if time.Unix(0, x.time).After(updated.Add(time.Minute)) {
				n += x.num("opened")
			}
		}
		if n < 60 {
			t.Errorf("%v: %d connections since", edge, n)
		}
	}

	s.run(firstVersion, "job", 2, connections("api:9000")...)
	w.onlyTold("job", "api")
}

// J9: weir is stopped, and killed, and started again, while traffic goes on, new
// connections and one that was there before: neither is anything new, nor has anything
// gone, nor is forgotten what the run before saw. What is new after that is told.
func TestCaseJ9_ProbeRestarts(t *testing.T) {
	t.Parallel()
	s := newShop(t, "j9", allUnattributed)
	s.knows(habit{"web", "api", 1}, habit{"job", "db", 1})
	s.serve(firstVersion, "api", 1)
	s.serve(firstVersion, "db", 1)
	s.run(firstVersion, "web", 1, "client", "-addr", "api:9000", "-requests", "1000000", "-pause", "200ms", "-send", "1000", "-recv", "5000", "-log", "/dev/null")
	s.run(firstVersion, "job", 1, connections("db:9000")...)
	once := s.run(firstVersion, "job", 2, connections("api:9000")...) // what is there at the start is not told
	w := s.watch()
	w.nothing("the first run")
	s.Docker(t, "rm", "-f", once)
	w.settle(t)
	w.Stop(t)

	w = s.watch()
	s.run(firstVersion, "job", 2, connections("api:9000")...)
	w.reaches(w.minute(2 * time.Minute))
	w.nothing("after SIGTERM")
	w.Signal(t, syscall.SIGKILL)
	w.Status(t)

	w = s.watch()
	w.reaches(w.minute(2 * time.Minute))
	w.nothing("after SIGKILL")

	s.run(firstVersion, "web", 2, connections("db:9000")...)
	w.onlyTold("web", "db")
}
