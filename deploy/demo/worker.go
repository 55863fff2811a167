package main

import (
	"context"
	"fmt"
	"time"
)

// work uses a little CPU; during the incident all of it for a while, and then memory
// beyond every limit: the kernel kills it, and Docker starts it again. It waits for the
// next incident then, or it would be killed again and again.
func work(ctx context.Context, i incident) error {
	if i.at(time.Now()) && !rest(ctx, time.Until(i.next(time.Now()))) {
		return nil
	}
	for !i.at(time.Now()) {
		spin(5 * time.Millisecond)
		if !rest(ctx, 500*time.Millisecond) {
			return nil
		}
	}
	fmt.Println("the worker works too much")
	for end := time.Now().Add(i.lasts / 3); time.Now().Before(end); {
		spin(100 * time.Millisecond)
		if ctx.Err() != nil {
			return nil
		}
	}
	var held [][]byte
	for { // bounded by the container's limit of memory
		held = append(held, dirty(1<<20))
		if !rest(ctx, 20*time.Millisecond) {
			return fmt.Errorf("ended with %d MB", len(held))
		}
	}
}

func spin(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// dirty is memory that is really there.
func dirty(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

// rest sleeps and says whether to go on.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
