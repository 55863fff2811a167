package sink

import (
	"log/slog"
	"time"
)

// LimitedLog lets an error of each kind through once in a while, and says how many it
// kept back; other levels are the Logger's. Not safe for concurrent use.
type LimitedLog struct {
	*slog.Logger
	every time.Duration
	last  map[string]time.Time
	held  map[string]int
}

// NewLimitedLog returns one that lets an error of each kind through per every.
func NewLimitedLog(log *slog.Logger, every time.Duration) *LimitedLog {
	return &LimitedLog{Logger: log, every: every, last: map[string]time.Time{}, held: map[string]int{}}
}

// Error logs msg; kind must be one of few.
func (l *LimitedLog) Error(kind, msg string, args ...any) {
	now := time.Now()
	if t, ok := l.last[kind]; ok && now.Sub(t) < l.every {
		l.held[kind]++
		return
	}
	if n := l.held[kind]; n > 0 {
		args = append(args, "not_logged", n)
	}
	l.last[kind], l.held[kind] = now, 0
	l.Logger.Error(msg, args...)
}

// Forget lets the next error of each kind through.
func (l *LimitedLog) Forget() {
	clear(l.last)
	clear(l.held)
}
