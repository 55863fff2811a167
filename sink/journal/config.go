package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// SyncPolicy says when what was appended is forced to the disk.
type SyncPolicy uint8

const (
	SyncAppend  SyncPolicy = iota // after each Append: a power cut loses nothing that Append returned for
	SyncSegment                   // when a segment is full and on Close: a crash of Weir loses nothing, a power cut up to a segment
)

// Config of a Journal; a zero field means its default.
type Config struct {
	Dir          string        // "" = in memory only
	MaxBytes     int64         // on disk, default 1 GiB
	MaxAge       time.Duration // default 7 days
	SegmentBytes int64         // default 8 MiB, at most a quarter of MaxBytes
	MemoryBytes  int64         // of raw rows, without a folder or while it cannot be written; default 64 MiB
	Sync         SyncPolicy
	Logger       *slog.Logger     // nil = discard
	Now          func() time.Time // nil = time.Now
}

// DefaultConfig keeps up to 1 GiB and 7 days in dir.
func DefaultConfig(dir string) Config {
	return Config{
		Dir:          dir,
		MaxBytes:     1 << 30,
		MaxAge:       7 * 24 * time.Hour,
		SegmentBytes: 8 << 20,
		MemoryBytes:  64 << 20,
	}
}

const minSegment = 64 << 10

// Validate says what is wrong with c, and what to do about it.
func (c Config) Validate() error {
	switch {
	case c.MaxBytes < 0 || c.SegmentBytes < 0 || c.MemoryBytes < 0 || c.MaxAge < 0:
		return errors.New("journal: sizes and ages must not be negative (0 means the default)")
	case c.MaxBytes != 0 && c.MaxBytes < 4*minSegment:
		return fmt.Errorf("journal: a size of %d bytes is too small: give it at least %d", c.MaxBytes, 4*minSegment)
	case c.MaxAge != 0 && c.MaxAge < time.Minute:
		return fmt.Errorf("journal: an age of %v is too short: give it at least 1m", c.MaxAge)
	case c.Sync > SyncSegment:
		return fmt.Errorf("journal: unknown sync policy %d", c.Sync)
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig(c.Dir)
	c.MaxBytes = orDefault(c.MaxBytes, d.MaxBytes)
	c.SegmentBytes = orDefault(c.SegmentBytes, d.SegmentBytes)
	c.MemoryBytes = orDefault(c.MemoryBytes, d.MemoryBytes)
	c.MaxAge = orDefault(c.MaxAge, d.MaxAge)
	c.SegmentBytes = min(max(c.SegmentBytes, minSegment), c.MaxBytes/4)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func orDefault[T int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}
