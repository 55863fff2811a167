package sink

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// DeliverConfig of a Deliverer; a zero field means its default.
type DeliverConfig struct {
	Limit       Limit         // of one request; default 5000 rows, 1 MiB
	MinBackoff  time.Duration // bound of the first wait after an error, doubled each time; default 1 s
	MaxBackoff  time.Duration // default 60 s
	ConfigRetry time.Duration // wait after a ConfigError, up to twice that; default 30 s
	MaxThrottle time.Duration // longest Retry-After that is obeyed; default 15 min
	LogEvery    time.Duration // the same trouble is logged at most this often; default 5 min

	// Jitter delays rows that come one at a time by up to this much, so that the
	// hosts of a fleet do not all write in the same instant. Default 0.
	Jitter time.Duration

	Rand   func(n int64) int64 // in [0, n); nil = math/rand
	Logger *slog.Logger        // nil = discard
}

// DefaultDeliverConfig is what InfluxDB likes: 5000 rows a request.
func DefaultDeliverConfig() DeliverConfig {
	return DeliverConfig{
		Limit:       Limit{Rows: 5000, Bytes: 1 << 20},
		MinBackoff:  time.Second,
		MaxBackoff:  time.Minute,
		ConfigRetry: 30 * time.Second,
		MaxThrottle: 15 * time.Minute,
		LogEvery:    5 * time.Minute,
	}
}

// Validate says what is wrong with c.
func (c DeliverConfig) Validate() error {
	switch {
	case c.Limit.Rows < 0 || c.Limit.Bytes < 0:
		return errors.New("delivery: a limit must not be negative (0 means the default)")
	case c.MinBackoff < 0 || c.MaxBackoff < 0 || c.ConfigRetry < 0 || c.MaxThrottle < 0 || c.LogEvery < 0 || c.Jitter < 0:
		return errors.New("delivery: a duration must not be negative (0 means the default)")
	case c.MinBackoff > c.MaxBackoff && c.MaxBackoff != 0:
		return errors.New("delivery: the first backoff must not be longer than the longest")
	}
	return nil
}

func (c DeliverConfig) withDefaults() DeliverConfig {
	d := DefaultDeliverConfig()
	if c.Limit == (Limit{}) {
		c.Limit = d.Limit
	}
	for _, f := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.MinBackoff, d.MinBackoff}, {&c.MaxBackoff, d.MaxBackoff}, {&c.ConfigRetry, d.ConfigRetry},
		{&c.MaxThrottle, d.MaxThrottle}, {&c.LogEvery, d.LogEvery},
	} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	if c.Rand == nil {
		c.Rand = rand.Int64N
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
