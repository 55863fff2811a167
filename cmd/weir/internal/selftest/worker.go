package selftest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"
)

// workerCommand is the hidden command by which this program becomes a worker. It
// is looked for before anything else is set up: a short-lived process must cost
// what such processes cost, not what a command line parser does.
const (
	workerCommand = "selftest-worker"
	taskVariable  = "WEIR_TEST_TASK" // of the environment
)

// task is what one worker does, as JSON in its environment.
type task struct {
	Do        string // serve, passed, call, once
	Log       string // file for the truth
	Container string

	// serve: listeners and datagram sockets; passed on means that every accepted
	// connection goes to a second process, which serves it.
	TCP, UDP []netip.AddrPort
	PassOn   bool

	// call and once
	Situation   string
	Proto       string
	Targets     []netip.AddrPort
	Source      netip.Addr // this end's own address, where the kernel does not tell it
	Rate        float64    // connections per second; 0 = as fast as it goes
	Parallel    int
	For         time.Duration
	FirstPort   int // bind to this port; each of the parallel callers has its own
	Ports       int // and goes through so many of them in turn
	Request     int // octets, and up to as many again
	Reply       int
	Hold        time.Duration // between the first half of the octets and the rest
	CloseFirst  bool          // the server closes first
	Unconnected bool          // UDP by sendto
	Own         string        // "", "exec": a process for each connection, "inherit": the same on a socket that the parent connected
	Creator     Process       // who connected what is inherited
	Requests    int           // per connection, spread over For where it is more than one
}

// IsWorker says whether this process has been started to be a worker.
func IsWorker(args []string) bool { return len(args) == 4 && args[1] == workerCommand }

// Work does what a worker does and returns its exit status. It says ready on
// standard output, begins at the first line on standard input, says done, and
// ends when standard input does: with the process that started it.
func Work() int {
	var t task
	err := json.Unmarshal([]byte(os.Getenv(taskVariable)), &t)
	if err == nil {
		err = t.run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "worker %s %s: %v\n", t.Do, t.Situation, err)
		return 1
	}
	return 0
}

func (t *task) run() (err error) {
	r, err := newRecorder(t.Log, t.Container)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	switch t.Do {
	case "once":
		return t.once(r)
	case "passed":
		return t.passed(r)
	case "serve":
		s, err := t.listen(r)
		if err != nil {
			return err
		}
		say("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return s.close()
	case "call":
		say("ready")
		in := bufio.NewReader(os.Stdin)
		if _, err := in.ReadString('\n'); err != nil {
			return nil // called off
		}
		err := t.call(r)
		if err == nil {
			err = r.Close()
		}
		r.all = nil
		say("done")
		_, _ = io.Copy(io.Discard, in) // its process is still there while rows are made of it
		return err
	}
	return fmt.Errorf("no such task %q", t.Do)
}

func say(word string) { fmt.Println(word) }
