package sink

import (
	"cmp"
	"context"
	"math"
	"time"
)

// Limit bounds one delivery; zero means no limit.
type Limit struct {
	Rows  int
	Bytes int
}

// Fits says whether a delivery of so many rows and bytes keeps to l.
func (l Limit) Fits(rows, bytes int) bool {
	return (l.Rows == 0 || rows <= l.Rows) && (l.Bytes == 0 || bytes <= l.Bytes)
}

// reckoned is l with large numbers for no limit, to be halved and doubled.
func (l Limit) reckoned() Limit {
	const none = math.MaxInt / 4
	return Limit{cmp.Or(l.Rows, none), cmp.Or(l.Bytes, none)}
}

// within is the smaller of two reckoned limits, part by part.
func (l Limit) within(m Limit) Limit { return Limit{min(l.Rows, m.Rows), min(l.Bytes, m.Bytes)} }

// Depth is what waits in a Queue, what is on its way included.
type Depth struct {
	Rows   uint64
	Bytes  uint64    // of line protocol
	Oldest time.Time // Batch.Time of the oldest; zero when nothing waits or nobody looked yet
	Lost   uint64    // rows that were given up undelivered since start
}

// Queue is where a Deliverer finds its batches, in order. The journal implements
// it, on disk and in memory.
type Queue interface {
	// Take waits for rows and returns the oldest that were not acknowledged:
	// batches of one stream merged as long as they fit limit, never less than
	// one. The batch is valid until the next Take; without Ack the same rows come
	// again. It returns ctx's error, or os.ErrClosed when nothing will come.
	Take(ctx context.Context, limit Limit) (*Batch, error)
	// Ack says that what Take returned last need not come again. An error says
	// that it may, after a restart.
	Ack() error
	Depth() Depth
}
