package main

import (
	"context"
	"time"

	"github.com/weir-probe/weir/cmd/weir/internal/explain"
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
)

// maxDescribed bounds how many connections one question is told of.
const maxDescribed = 1000

// describe answers from any goroutine what the log would say now of connections
// that are open, in its own form: line protocol.
func (c *collector) describe(ctx context.Context, terms []string) ([]byte, error) {
	var s explain.Selector
	if err := s.Terms(terms); err != nil {
		return nil, err
	}
	cfg := c.cfg.Rows
	answer := make(chan []byte, 1)
	ask := func() {
		now, n := time.Now(), 0
		log := sink.NewFlowLog(cfg)
		c.join.Describe(now, s.Could, func(r *correlate.Record) bool {
			log.Tell(r, now)
			n++
			return n < maxDescribed
		})
		var lines []byte
		for _, b := range log.Flush(now) {
			lines = append(lines, b.Lines...)
		}
		answer <- lines
	}
	select {
	case c.questions <- ask:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case lines := <-answer:
		return lines, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
