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

	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

// maxEvent bounds one event, octets: Docker allows labels of any size.
const maxEvent = 1 << 20

// Client keeps what an engine knows; see engine.Link for what it answers.
type Client struct {
	*engine.Link
	http   *http.Client
	podman podman
}

// New returns a client for a valid configuration; Run does the work.
func New(cfg Config) *Client {
	if cfg.Host == "" {
		cfg.Host = DefaultHost
	}
	c := &Client{Link: engine.NewLink(cfg)}
	c.http = c.newHTTP()
	return c
}

// Makes says whether containers with that layout of control groups can be this
// engine's: Podman speaks the same API.
func (c *Client) Makes(rt cgroup.Runtime) bool {
	switch rt {
	case cgroup.Docker, cgroup.Podman, cgroup.Kubernetes, cgroup.Unknown:
		return true
	}
	return false
}

// Run follows the engine until ctx is done, and comes back to it whenever it was
// away.
func (c *Client) Run(ctx context.Context) error {
	defer c.http.CloseIdleConnections()
	return c.Follow(ctx, c.follow)
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
	if err := c.adopt(ctx, all); err != nil {
		return false, err
	}
	c.Store.Replace(all, asked)
	c.Succeeded(version)
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
	ping := time.NewTicker(c.Ping)
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
			c.Store.Expire(time.Now().UnixNano())
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
			c.Count(func(s *engine.Stats) { s.BadEvents++ })
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
	if !engine.IsID(id) || e.Type != "container" && e.Type != "network" {
		return
	}
	c.Count(func(s *engine.Stats) { s.Events++ })
	switch e.Type + " " + e.Action {
	case "container create", "container rename":
		c.Store.Put(c.sameNow(e.container()), at)
		if e.Action == "create" && c.podman.prefix != "" { // its pod is known before it runs, not after its first connections
			c.later(inspects, inspection{id, at})
		}
	case "container start", "container restart":
		c.Store.Start(c.sameNow(e.container()), at)
		c.later(inspects, inspection{id, at})
	case "container die":
		c.Store.Stop(c.sameNow(e.container()), at)
	case "container destroy", "container remove":
		c.Store.Remove(id, at)
	case "network connect":
		c.later(inspects, inspection{id, at})
	case "network disconnect":
		c.Store.Detach(id, e.Actor.Attributes["name"], at)
	}
}

func (c *Client) later(inspects chan<- inspection, i inspection) {
	select {
	case inspects <- i:
	default:
		c.Count(func(s *engine.Stats) { s.InspectsDropped++ })
	}
}

// inspect asks for what events do not tell: addresses, and the image as it was
// written. A container that is gone by then keeps what its events told.
func (c *Client) inspect(ctx context.Context, prefix string, i inspection) {
	c.Count(func(s *engine.Stats) { s.Inspects++ })
	body, err := c.get(ctx, prefix+"/containers/"+i.id+"/json")
	var d engine.Details
	if err == nil {
		d, err = decodeInspect(body)
	}
	if err != nil {
		c.Count(func(s *engine.Stats) { s.InspectsFailed++ })
		if !errors.Is(err, errGone) {
			c.Logger.Debug("the addresses of a container are not known", "id", i.id, "error", err)
		}
		return
	}
	if d.Container.ID == i.id {
		c.adoptOne(ctx, &d)
		c.Store.Refine(d, i.at)
	}
}
