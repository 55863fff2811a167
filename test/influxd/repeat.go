package influxd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A row costs a server much more to take than to keep. Repeat makes many out of few: it
// copies a database's files to the times before, and changes the times in the copies. It
// reads no more of a TSM file than where its times are: in the index at its end, and
// where the times of a block begin (the others are differences).

const mark = "repeat_mark"

// compacted is the level that the copies' names say they have: what is below is put
// together a few files at a time, again and again.
const compacted = 4

// Repeat copies what the databases hold to the pieces of time before, so that there are
// so many of them. A piece divides a day, all rows are of one piece that ends at a
// multiple of it, and the server has settled.
func (s *Server) Repeat(t testing.TB, piece time.Duration, end time.Time, pieces map[string]int) {
	t.Helper()
	places := map[string]string{}
	for db, n := range pieces {
		var lines strings.Builder // a row per piece makes the shards
		for at := end; !at.Before(end.Add(-time.Duration(n) * piece)); at = at.Add(-piece) {
			fmt.Fprintf(&lines, "%s v=1i %d\n", mark, at.UnixNano())
		}
		s.request(t, "POST", "/api/v2/write?precision=ns&bucket="+db+"&org="+s.Org, "text/plain", []byte(lines.String()))
		places[db] = s.place(t, "data", db)
	}
	s.Settle(t, slices.Collect(maps.Keys(pieces))...)
	s.Stop(t)
	for db, n := range pieces {
		if err := repeat(filepath.Join(places[db], "autogen"), int64(piece), n); err != nil {
			t.Fatalf("copy the rows of %s: %v", db, err)
		}
	}
	s.run(t)
}

// shard is one folder of files.
type shard struct {
	dir    string
	files  []*tsm
	octets int
	last   int // generation
}

// repeat works on the shards of a database.
func repeat(dir string, piece int64, n int) error {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	shards, owner := make([]*shard, len(folders)), map[int64]*shard{} // by piece
	for i, f := range folders {
		if shards[i], err = readShard(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
		for _, x := range shards[i].files {
			for k := x.firstMark / piece; k <= x.lastMark/piece; k++ {
				owner[k] = shards[i]
			}
		}
	}
	fullest := slices.MaxFunc(shards, func(a, b *shard) int { return a.octets - b.octets })
	for _, s := range shards {
		if err := s.takeIndex(fullest); err != nil {
			return err
		}
		for _, x := range s.files {
			for k := 1; k < n && !x.only; k++ {
				x.shift(-piece)
				to := owner[x.first/piece]
				if to == nil {
					return fmt.Errorf("no shard for %s", time.Unix(0, x.first))
				}
				to.last++
				if err := os.WriteFile(filepath.Join(to.dir, fmt.Sprintf("%09d-%09d.tsm", to.last, compacted)), x.content, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func readShard(dir string) (*shard, error) {
	s := &shard{dir: dir}
	names, err := filepath.Glob(filepath.Join(dir, "*.tsm"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		x, err := readTSM(name)
		if err != nil {
			return nil, err
		}
		s.files, s.octets = append(s.files, x), s.octets+len(x.content)
		if _, err := fmt.Sscanf(filepath.Base(name), "%d-", &s.last); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// takeIndex takes the index and the fields of a shard that has all series: their numbers
// are the database's.
func (s *shard) takeIndex(from *shard) error {
	if s == from {
		return nil
	}
	for _, name := range []string{"index", "fields.idx", "fields.idxl"} {
		to := filepath.Join(s.dir, name)
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		of, err := os.Stat(filepath.Join(from.dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case of.IsDir():
			err = os.CopyFS(to, os.DirFS(filepath.Join(from.dir, name)))
		default:
			var b []byte
			if b, err = os.ReadFile(filepath.Join(from.dir, name)); err == nil {
				err = os.WriteFile(to, b, 0o644)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tsm is a file of InfluxDB's, as far as it is of interest.
type tsm struct {
	content []byte
	entries [][]byte // of the index: first and last time, offset, size
	first   int64    // time of all
	only    bool     // there are marks and nothing else
	// There is a mark in each piece from the first to the last.
	firstMark, lastMark int64
}

func readTSM(name string) (*tsm, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	x := &tsm{content: b, first: math.MaxInt64, only: true, firstMark: math.MaxInt64}
	index := b[binary.BigEndian.Uint64(b[len(b)-8:]) : len(b)-8]
	for len(index) > 0 {
		key := index[2 : 2+binary.BigEndian.Uint16(index)]
		index = index[2+len(key)+1:] // and the type
		n := int(binary.BigEndian.Uint16(index))
		for index = index[2:]; n > 0; n-- {
			x.entries = append(x.entries, index[:28])
			first, last := int64(binary.BigEndian.Uint64(index)), int64(binary.BigEndian.Uint64(index[8:]))
			if bytes.Contains(key, []byte(mark)) {
				x.firstMark, x.lastMark = min(x.firstMark, first), max(x.lastMark, last)
			} else {
				x.first, x.only = min(x.first, first), false
			}
			index = index[28:]
		}
	}
	return x, nil
}

// shift moves all times.
func (x *tsm) shift(by int64) {
	move := func(b []byte) { binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)+uint64(by)) }
	for _, e := range x.entries {
		move(e)
		move(e[8:])
		block := x.content[binary.BigEndian.Uint64(e[16:]):][:binary.BigEndian.Uint32(e[24:])]
		data := block[4:] // a checksum, the type, how long the times are, and how they are encoded
		_, n := binary.Uvarint(data[1:])
		move(data[1+n+1:])
		binary.BigEndian.PutUint32(block, crc32.ChecksumIEEE(data))
	}
	x.first += by
}
