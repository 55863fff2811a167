package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// maxEvent bounds one event, octets: Docker allows labels of any size.
const maxEvent = 1 << 20

// Client keeps what an engine knows. Lookup, ByAddress, Status and Stats may be
// called from any goroutine and never wait for the engine.
type Client struct {
	cfg    Config
	socket string
	http   *http.Client
	store  *store

	mu     sync.Mutex
	status Status
	stats  Stats
}

// New returns a client for a valid configuration; Run does the work.
func New(cfg Config) *Client {
	cfg = cfg.withDefaults()
	path, _ := socketPath(cfg.Host)
	c := &Client{cfg: cfg, socket: path, store: newStore(cfg.Grace, cfg.MaxContainers)}
	c.status.Socket = path
	c.http = c.newHTTP()
	return c
}

// Lookup returns the container with that id; nil when it is not known (yet).
func (c *Client) Lookup(id string) *correlate.Container { return c.store.get(id) }

// ByAddress returns the container that had the address at a time (unix ns); nil
// when none is known, or more than one.
func (c *Client) ByAddress(a flows.Addr, t int64) *correlate.Container { return c.store.at(a, t) }

// Status returns how it stands with the engine.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	s := c.stats
	c.mu.Unlock()
	s.Containers, s.Evicted, s.Refused = c.store.len()
	return s
}

func (c *Client) count(f func(*Stats)) {
	c.mu.Lock()
	f(&c.stats)
	c.mu.Unlock()
}

// Run follows the engine until ctx is done, and comes back to it whenever it was
// away. An engine that is not there is no error: containers stay unnamed and the
// Status says why.
func (c *Client) Run(ctx context.Context) error {
	defer c.http.CloseIdleConnections()
	backoff := c.cfg.MinBackoff
	for {
		connected, err := c.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if connected {
			backoff = c.cfg.MinBackoff
		}
		c.failed(err)
		c.store.expire(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, c.cfg.MaxBackoff)
	}
}

// failed notes an error, and logs it once until it changes.
func (c *Client) failed(err error) {
	c.mu.Lock()
	c.stats.Failures++
	was := c.status
	c.status = Status{Socket: c.socket, Error: err.Error(), Since: was.Since}
	if was.Connected || was.Error == "" {
		c.status.Since = time.Now().UnixNano()
	}
	c.mu.Unlock()
	if was.Error != err.Error() {
		c.cfg.Logger.Warn("no container engine: containers keep their id and get no new names until it is back",
			"socket", c.socket, "error", err)
	}
}

func (c *Client) succeeded(version string) {
	c.mu.Lock()
	c.stats.Connects++
	c.status = Status{Connected: true, Socket: c.socket, Version: version, Since: time.Now().UnixNano()}
	c.mu.Unlock()
	c.cfg.Logger.Info("container engine found", "socket", c.socket, "version", version)
}

// follow stays with the engine for as long as it answers. The stream is opened
// before the list is read, so that nothing falls between them.
func (c *Client) follow(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	version, prefix, err := c.negotiate(ctx)
	if err != nil {
		return false, err
	}
	filters := url.QueryEscape(`{"type":["container","network"]}`)
	body, err := c.open(ctx, prefix+"/events?filters="+filters)
	if err != nil {
		return false, err
	}
	asked := time.Now().UnixNano()
	inspects := make(chan inspection, maxInspections)
	broken := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { broken <- c.read(body, inspects) })
	defer wg.Wait()
	defer body.Close()
	defer cancel()

	list, err := c.get(ctx, prefix+"/containers/json?all=1")
	if err != nil {
		return false, err
	}
	all, err := decodeList(list)
	if err != nil {
		return false, err
	}
	c.store.replace(all, asked)
	c.succeeded(version)
	return true, c.loop(ctx, prefix, inspects, broken)
}

// inspection is a container whose addresses are to be asked for; at is the time
// of the event that may have changed them.
type inspection struct {
	id string
	at int64
}

// maxInspections bounds the questions that wait for the engine.
const maxInspections = 1024

func (c *Client) loop(ctx context.Context, prefix string, inspects <-chan inspection, broken <-chan error) error {
	ping := time.NewTicker(c.cfg.Ping)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case i := <-inspects:
			c.inspect(ctx, prefix, i)
		case <-ping.C:
			// The stream has no heartbeat: a hung engine is only silent.
			if _, err := c.get(ctx, "/_ping"); err != nil {
				return err
			}
			c.store.expire(time.Now().UnixNano())
		}
	}
}

// read takes the stream until it ends. Names are known at once, addresses are
// asked for by others: the engine drops events for those who read slowly.
func (c *Client) read(body io.Reader, inspects chan<- inspection) error {
	sc := bufio.NewScanner(body)
	sc.Buffer(make([]byte, 0, 4096), maxEvent)
	bad := 0
	for sc.Scan() {
		e, err := decodeEvent(sc.Bytes())
		if err != nil {
			c.count(func(s *Stats) { s.BadEvents++ })
			if bad++; bad > 100 {
				return err // this is no engine
			}
			continue
		}
		bad = 0
		c.apply(&e, inspects)
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read the engine's events: %w", err)
	}
	return errors.New("the engine closed its event stream")
}

// apply takes one event; what health checks and execs produce in masses is
// passed over.
func (c *Client) apply(e *event, inspects chan<- inspection) {
	at, id := e.unixNano(), e.Actor.ID
	if e.Type == "network" {
		id = e.Actor.Attributes["container"]
	}
	if !isID(id) || e.Type != "container" && e.Type != "network" {
		return
	}
	c.count(func(s *Stats) { s.Events++ })
	switch e.Type + " " + e.Action {
	case "container create", "container rename":
		c.store.put(e.container(), at)
	case "container start", "container restart":
		c.store.start(e.container(), at)
		c.later(inspects, inspection{id, at})
	case "container die":
		c.store.stop(e.container(), at)
	case "container destroy", "container remove":
		c.store.remove(id, at)
	case "network connect":
		c.later(inspects, inspection{id, at})
	case "network disconnect":
		c.store.detach(id, e.Actor.Attributes["name"], at)
	}
}

func (c *Client) later(inspects chan<- inspection, i inspection) {
	select {
	case inspects <- i:
	default:
		c.count(func(s *Stats) { s.InspectsDropped++ })
	}
}

// inspect asks for what events do not tell: addresses, and the image as it was
// written. A container that is gone by then keeps what its events told.
func (c *Client) inspect(ctx context.Context, prefix string, i inspection) {
	c.count(func(s *Stats) { s.Inspects++ })
	body, err := c.get(ctx, prefix+"/containers/"+i.id+"/json")
	var d details
	if err == nil {
		d, err = decodeInspect(body)
	}
	if err != nil {
		c.count(func(s *Stats) { s.InspectsFailed++ })
		if !errors.Is(err, errGone) {
			c.cfg.Logger.Debug("the addresses of a container are not known", "id", i.id, "error", err)
		}
		return
	}
	if d.container.ID == i.id {
		c.store.refine(d, i.at)
	}
}
