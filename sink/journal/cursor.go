package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/weir-probe/weir/sink"
)

const cursorDir = "cursors"

// cursor is the file that keeps the place of a sink in a stream.
type cursor struct {
	Sink    string `json:"sink"`
	Stream  string `json:"stream"`
	Rows    uint64 `json:"rows"`
	Bytes   uint64 `json:"bytes"`
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`

	stream sink.Stream
}

func cursorPath(dir, name string, stream sink.Stream) string {
	return filepath.Join(dir, cursorDir, url.QueryEscape(name)+"."+stream.String()+".json")
}

// readCursor reports false when there is none.
func readCursor(path, name string, stream sink.Stream) (place, bool, error) {
	c, err := loadCursor(path)
	if errors.Is(err, os.ErrNotExist) {
		return place{}, false, nil
	}
	if err != nil {
		return place{}, true, err
	}
	if c.Sink != name || c.Stream != stream.String() {
		return place{}, true, fmt.Errorf("%s is the place of sink %q in %q", path, c.Sink, c.Stream)
	}
	return place{count{c.Rows, c.Bytes}, c.Segment, c.Offset}, true, nil
}

func loadCursor(path string) (cursor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return cursor{}, fmt.Errorf("read place: %w", err)
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil {
		return cursor{}, fmt.Errorf("read place %s: %w", path, err)
	}
	const sane = 1 << 62
	if c.Rows > sane || c.Bytes > sane || c.Offset < 0 {
		return cursor{}, fmt.Errorf("read place %s: impossible numbers", path)
	}
	return c, nil
}

// readCursors returns every place that can be read.
func readCursors(dir string) []cursor {
	entries, _ := os.ReadDir(filepath.Join(dir, cursorDir))
	var cs []cursor
	for _, e := range entries {
		c, err := loadCursor(filepath.Join(dir, cursorDir, e.Name()))
		if err != nil {
			continue // Queue reports it
		}
		for s := range sink.Streams {
			if s.String() == c.Stream {
				c.stream = s
				cs = append(cs, c)
			}
		}
	}
	return cs
}

// save keeps a place: a whole new file takes the place of the old one.
func (q *Queue) save(p place) error {
	if q.path == "" {
		return nil
	}
	q.saving.Lock()
	defer q.saving.Unlock()
	err := writeCursor(q.path, cursor{
		Sink: q.name, Stream: q.stream.String(),
		Rows: p.rows, Bytes: p.bytes, Segment: p.segment, Offset: p.offset,
	})
	if err != nil {
		q.j.mu.Lock()
		q.j.stats.CursorErrors++
		q.j.mu.Unlock()
		return fmt.Errorf("keep place of sink %s: %w", q.name, err)
	}
	return nil
}

func writeCursor(path string, c cursor) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
