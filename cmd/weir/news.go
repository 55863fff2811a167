package main

import "time"

const (
	// quiet is how long something has to be over for its return to be news.
	quiet = 5 * time.Minute
	// maxNews bounds what is remembered of each kind; past it nothing is news.
	maxNews = 2000
)

// news tells what begins from what goes on.
type news[K comparable] struct {
	last map[K]time.Time
	lost uint64 // for which there was no room
}

// is says whether k, which happens at t, did not happen in the quiet time before.
func (n *news[K]) is(k K, t time.Time) bool {
	last, known := n.last[k]
	if !known && len(n.last) >= maxNews {
		n.lost++
		return false
	}
	if n.last == nil {
		n.last = map[K]time.Time{}
	}
	n.last[k] = t
	return !known || t.Sub(last) > quiet
}

// forget drops what is over at t.
func (n *news[K]) forget(t time.Time) {
	for k, last := range n.last {
		if t.Sub(last) > quiet {
			delete(n.last, k)
		}
	}
}
