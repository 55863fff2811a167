package netns

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Config of a Table. The zero value means the defaults.
type Config struct {
	// Dir is where names are mounted (default /run/netns).
	Dir string
	// Reread is how often it is looked at (default 5 s).
	Reread time.Duration
	// MaxNames bounds the names (default 4096).
	MaxNames int
	Logger   *slog.Logger // nil discards
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Dir: "/run/netns", Reread: 5 * time.Second, MaxNames: 4096}
}

// Validate checks ranges.
func (c Config) Validate() error {
	if c.Reread < 0 || c.MaxNames < 0 {
		return errors.New("network namespaces: reread and max_names must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Dir == "" {
		c.Dir = d.Dir
	}
	if c.Reread == 0 {
		c.Reread = d.Reread
	}
	if c.MaxNames == 0 {
		c.MaxNames = d.MaxNames
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxName is how much of a name is kept, octets.
const maxName = 64

// Stats counts what the table did; totals since the start, except Names.
type Stats struct {
	Names   int
	Errors  uint64 // directories that could not be read
	Refused uint64 // names beyond MaxNames
}

// Table holds the names. Name may be called from any goroutine.
type Table struct {
	cfg     Config
	names   atomic.Pointer[map[uint32]string]
	errors  atomic.Uint64
	refused atomic.Uint64
}

// New returns an empty table.
func New(cfg Config) *Table {
	t := &Table{cfg: cfg.withDefaults()}
	t.names.Store(&map[uint32]string{})
	return t
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	return Stats{len(*t.names.Load()), t.errors.Load(), t.refused.Load()}
}

// Name returns the name of the namespace with that inode, "" where it has none.
func (t *Table) Name(inode uint32) string { return (*t.names.Load())[inode] }

// Run reads the names until ctx is done.
func (t *Table) Run(ctx context.Context) error {
	tick := time.NewTicker(t.cfg.Reread)
	defer tick.Stop()
	for {
		t.Reread()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Reread looks at the directory now. Of several names of a namespace the first
// counts, in the order of the alphabet.
func (t *Table) Reread() {
	list, err := os.ReadDir(t.cfg.Dir)
	if err != nil && !os.IsNotExist(err) {
		if t.errors.Add(1) == 1 {
			t.cfg.Logger.Warn("network namespaces stay without names", "error", err)
		}
		return
	}
	names := make(map[uint32]string, min(len(list), t.cfg.MaxNames))
	for _, e := range list {
		var st unix.Stat_t
		if unix.Stat(t.cfg.Dir+"/"+e.Name(), &st) != nil {
			continue // gone
		}
		inode := uint32(st.Ino)
		if _, ok := names[inode]; ok || !isNamespace(t.cfg.Dir+"/"+e.Name()) {
			continue // a file where nothing is mounted (yet)
		}
		if len(names) >= t.cfg.MaxNames {
			t.refused.Add(1)
			continue
		}
		names[inode] = printable(e.Name())
	}
	t.names.Store(&names)
}

func isNamespace(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// printable is a file's name as a row may show it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}
