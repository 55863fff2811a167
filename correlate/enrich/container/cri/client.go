package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

// Where runtimes listen by default.
const (
	ContainerdHost = "/run/containerd/containerd.sock"
	CRIOHost       = "/run/crio/crio.sock"
	K3sHost        = "/run/k3s/containerd/containerd.sock"
)

// Config says where the runtime is.
type Config = engine.Config

// maxMessage bounds an answer, octets: the kubelet takes no larger ones, so that a
// node that has them has stopped working already.
const maxMessage = 16 << 20

// Client keeps what a runtime knows; see engine.Link for what it answers.
type Client struct {
	*engine.Link
	wanted wanted
	// addressed are the sandboxes whose addresses are known; it belongs to Run.
	addressed map[string]struct{}
}

// New returns a client for a valid configuration; Run does the work.
func New(cfg Config) *Client {
	return &Client{Link: engine.NewLink(cfg), wanted: newWanted(), addressed: map[string]struct{}{}}
}

// Makes says whether containers with that layout of control groups can be this
// runtime's.
func (c *Client) Makes(rt cgroup.Runtime) bool {
	switch rt {
	case cgroup.Containerd, cgroup.CRIO, cgroup.Kubernetes, cgroup.Unknown:
		return true
	}
	return false
}

// Lookup returns the container with that id; nil when it is not known (yet): then
// the runtime is asked, a few times.
func (c *Client) Lookup(id string) *correlate.Container {
	found := c.Store.Get(id)
	if found == nil {
		c.wanted.ask(id)
	}
	return found
}

// Run follows the runtime until ctx is done, and comes back to it whenever it was
// away.
func (c *Client) Run(ctx context.Context) error { return c.Follow(ctx, c.follow) }

// dial makes a connection for one attempt: the library's own ways of coming back
// are not needed. Nothing is sent before the first call.
func (c *Client) dial() (*grpc.ClientConn, error) {
	path := c.Socket()
	return grpc.NewClient("passthrough:///cri",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a local socket
		grpc.WithAuthority("localhost"), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithMaxHeaderListSize(64<<10), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, c.Timeout)
			defer cancel()
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}))
}

// follow stays with the runtime for as long as it answers.
func (c *Client) follow(ctx context.Context) (connected bool, err error) {
	if err := c.reachable(ctx); err != nil {
		return false, err
	}
	conn, err := c.dial()
	if err != nil {
		return false, fmt.Errorf("reach the container runtime at %s: %w", c.Socket(), err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rt := runtime.NewRuntimeServiceClient(conn)
	v, err := call(ctx, c, "Version", rt.Version, &runtime.VersionRequest{})
	if err != nil {
		return false, err
	}
	// The stream is opened before the list is read, so that nothing falls between.
	news := make(chan *runtime.ContainerEventResponse, 64)
	ended := make(chan error, 1)
	go func() { ended <- c.read(ctx, rt, news) }()
	defer func() { cancel(); <-ended }()
	if err := c.list(ctx, rt); err != nil {
		return false, err
	}
	c.Succeeded(engine.Limit(v.RuntimeName, 64) + " " + engine.Limit(v.RuntimeVersion, 64) + ", CRI v1")
	return true, c.loop(ctx, rt, news, ended)
}

// reachable says why a socket cannot be opened in the system's own words: the
// library hides them in a text.
func (c *Client) reachable(ctx context.Context) error {
	d := net.Dialer{Timeout: c.Timeout}
	conn, err := d.DialContext(ctx, "unix", c.Socket())
	if err != nil {
		return fmt.Errorf("reach the container runtime: %w", err)
	}
	return conn.Close()
}

// call asks one question within the timeout.
func call[Q, A any](ctx context.Context, c *Client, name string, f func(context.Context, Q, ...grpc.CallOption) (A, error), q Q) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	a, err := f(ctx, q)
	if err == nil {
		return a, nil
	}
	s, _ := status.FromError(err)
	if s.Code() == codes.Unimplemented && name == "Version" {
		return a, fmt.Errorf("%s speaks no CRI v1 (containerd of Docker's packages has it switched off; v1 is in containerd since 1.6, in CRI-O since 1.23): %w", c.Socket(), engine.ErrAbsent)
	}
	// A runtime's message may be of any length and hold anything.
	return a, fmt.Errorf("ask the container runtime at %s for %s: %w", c.Socket(), name, refusal{s.Code(), engine.Limit(s.Message(), 256)})
}

// refusal is a runtime's own error.
type refusal struct {
	code codes.Code
	text string
}

func (r refusal) Error() string { return r.code.String() + ": " + r.text }

// unanswered says whether there was no answer at all, rather than one that says no.
func unanswered(err error) bool {
	var r refusal
	return errors.As(err, &r) && (r.code == codes.DeadlineExceeded || r.code == codes.Unavailable || r.code == codes.Canceled)
}

// loop keeps up with the runtime.
func (c *Client) loop(ctx context.Context, rt runtime.RuntimeServiceClient, news <-chan *runtime.ContainerEventResponse, ended chan error) error {
	again := time.NewTicker(c.Ping)
	defer again.Stop()
	var pause <-chan time.Time // runs after a list that was asked for
	asked := c.wanted.bell
	spent := allowance{left: savings, at: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-news:
			c.event(e)
			continue
		case err := <-ended:
			ended <- err // for who waits for the reader's end
			if err != nil {
				return err
			}
			ended, news = nil, nil // it serves none: lists have to do
			continue
		case <-pause:
			pause, asked = nil, c.wanted.bell
			continue
		case <-asked:
			if !wait(ctx, settle) { // others that are born at this moment are in the same list
				return ctx.Err()
			}
		case <-again.C:
		}
		begun := time.Now()
		if err := c.list(ctx, rt); err != nil {
			return err
		}
		c.Store.Expire(time.Now().UnixNano())
		pause, asked = time.After(spent.on(begun, time.Now())), nil
	}
}

// allowance keeps the lists nobody planned at a tenth of the time in the long run: a
// pod that lives for a moment must not wait for its turn because the one before it took
// long.
type allowance struct {
	left time.Duration // of lists
	at   time.Time     // of left
}

// savings are the most that can be left.
const savings = 2 * time.Second

// on takes a list from begun to now out of it and returns how long to wait for the next.
func (a *allowance) on(begun, now time.Time) time.Duration {
	a.left = min(a.left+now.Sub(a.at)/10, savings) - now.Sub(begun)
	a.at = now
	return max(minPause, -10*a.left)
}

// settle is how long a list waits for more ids to be asked for; minPause is the
// least time between two lists that were asked for.
const (
	settle   = 20 * time.Millisecond
	minPause = 100 * time.Millisecond
)

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
