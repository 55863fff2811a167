package cri

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

// read takes the event stream until it ends; nil says that the runtime serves
// none (CRI-O ends the stream at once where events are switched off).
func (c *Client) read(ctx context.Context, rt runtime.RuntimeServiceClient, news chan<- *runtime.ContainerEventResponse) error {
	stream, err := rt.GetContainerEvents(ctx, &runtime.GetEventsRequest{}, grpc.WaitForReady(false))
	if err != nil {
		return streamEnd(err, false)
	}
	served := false
	for {
		e, err := stream.Recv()
		if err != nil {
			return streamEnd(err, served)
		}
		served = true
		select {
		case news <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func streamEnd(err error, served bool) error {
	switch status.Code(err) {
	case codes.Unimplemented:
		return nil
	case codes.Canceled:
		return context.Canceled
	}
	if errors.Is(err, io.EOF) && !served {
		return nil
	}
	return fmt.Errorf("read the container runtime's events: %w", errors.New(engine.Limit(err.Error(), 256)))
}

// event takes one piece of news: it says all about the pod.
func (c *Client) event(e *runtime.ContainerEventResponse) {
	if !engine.IsID(e.GetContainerId()) {
		c.Count(func(s *engine.Stats) { s.BadEvents++ })
		return
	}
	c.Count(func(s *engine.Stats) { s.Events++ })
	at := e.CreatedAt
	switch {
	case e.ContainerEventType == runtime.ContainerEventType_CONTAINER_DELETED_EVENT:
		c.Store.Remove(e.ContainerId, at)
		delete(c.addressed, e.ContainerId)
		return
	case e.PodSandboxStatus != nil:
		c.told(e.PodSandboxStatus, e.ContainersStatuses, at)
	}
	if c.Store.Get(e.ContainerId) == nil {
		c.wanted.ask(e.ContainerId)
	}
	c.wanted.found(func(id string) bool { return c.Store.Get(id) != nil })
}

func (c *Client) told(s *runtime.PodSandboxStatus, members []*runtime.ContainerStatus, at int64) {
	if !engine.IsID(s.Id) {
		return
	}
	d := engine.Details{
		Container: sandbox(s.Id, s.Metadata, s.Labels, s.Annotations),
		Running:   s.State == runtime.PodSandboxState_SANDBOX_READY, Created: s.CreatedAt,
	}
	c.Store.Put(d.Container, at)
	if list, own := attachments(s); d.Running && (!own || len(list) > 0) {
		d.Addresses = list
		c.Store.Refine(d, s.CreatedAt)
		c.addressed[s.Id] = struct{}{}
	} else if !d.Running {
		c.Store.Stop(d.Container, at)
	}
	for _, x := range members {
		if x != nil && engine.IsID(x.Id) {
			c.Store.Put(c.member(x.Id, x.Metadata, x.Image, x.Labels, s.Id, &d.Container.Pod), at)
		}
	}
}
