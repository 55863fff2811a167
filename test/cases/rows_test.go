package cases

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink/decode"
	"github.com/weir-probe/weir/test/probe"
)

// row is one row of any measurement, tags and fields under their names.
type row struct {
	measurement string
	tags        map[string]string
	fields      map[string]any
	time        int64
}

func (r row) tag(name string) string { return r.tags[name] }

// str is a string field, "" where it is absent.
func (r row) str(name string) string { s, _ := r.fields[name].(string); return s }

// num is an integer field, -1 where it is absent.
func (r row) num(name string) int64 {
	n, ok := r.fields[name].(int64)
	if !ok {
		return -1
	}
	return n
}

func (r row) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.measurement)
	for k, v := range r.tags {
		fmt.Fprintf(&b, " %s=%s", k, v)
	}
	for k, v := range r.fields {
		fmt.Fprintf(&b, " %s:%v", k, v)
	}
	return b.String()
}

// rows reads what a probe has written to its file since rowsFrom: what other tests
// left there before, hundreds of megabytes by the end, is not read again and again.
type rows struct {
	path string
	from int64 // offset in the file
	at   int64 // ns since the epoch
}

// rowsFrom begins where the file, if there is one, ends now.
func rowsFrom(path string) *rows {
	r := &rows{path: path, at: time.Now().UnixNano()}
	if info, err := os.Stat(path); err == nil {
		r.from = info.Size()
	}
	return r
}

// open is at the first line that begins at or after from.
func (r *rows) open() (io.ReadCloser, error) {
	f, err := os.Open(r.path)
	if err != nil || r.from == 0 {
		return f, err
	}
	if _, err := f.Seek(r.from-1, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := bufio.NewReader(f)
	for {
		switch _, err := b.ReadSlice('\n'); {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && err != io.EOF:
			return nil, errors.Join(err, f.Close())
		}
		return struct {
			io.Reader
			io.Closer
		}{b, f}, nil
	}
}

// all returns every complete row of a measurement that matches.
func (r *rows) all(t *testing.T, measurement string, match func(row) bool) []row {
	t.Helper()
	f, err := r.open()
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []row
	err = decode.Read(f, func(x *decode.Row) error {
		if r := (row{x.Measurement, x.Tags, x.Fields, x.Time}); match(r) {
			out = append(out, r)
		}
		return nil
	}, measurement)
	if err != nil {
		t.Fatalf("weir wrote a line that cannot be read: %v", err)
	}
	return out
}

// final waits until exactly n finished connections match in flow_log, gives more
// of them an interval to show up, and returns them in the order they began.
func (r *rows) final(t *testing.T, n int, match func(row) bool) []row {
	t.Helper()
	ended := func(x row) bool { return x.tag("end_reason") != "active" && match(x) }
	var got []row
	probe.Until(t, patience, fmt.Sprintf("%d finished connections in flow_log", n), func() error {
		if got = r.all(t, "flow_log", ended); len(got) < n {
			return fmt.Errorf("have %d", len(got))
		}
		return nil
	})
	r.settle(t)
	if got = r.all(t, "flow_log", ended); len(got) != n {
		t.Fatalf("%d finished connections, want %d:\n%v", len(got), n, got)
	}
	// Those that end in one interval are told in any order.
	slices.SortStableFunc(got, func(a, b row) int { return cmp.Compare(a.num("start"), b.num("start")) })
	return got
}

// settle waits until two more intervals are written.
func (r *rows) settle(t *testing.T) {
	t.Helper()
	last := func() int64 {
		at := r.at
		for _, x := range r.all(t, "weir_self", func(row) bool { return true }) {
			at = max(at, x.time)
		}
		return at
	}
	from := last()
	probe.Until(t, patience, "two more intervals", func() error {
		if now := last(); now-from < 2e9 {
			return fmt.Errorf("%d ns so far", now-from)
		}
		return nil
	})
}

// serverPort matches connections to a port; clientPort those from one.
func serverPort(p int) func(row) bool {
	return func(r row) bool { return r.num("server_port") == int64(p) }
}
func clientPort(p int) func(row) bool {
	return func(r row) bool { return r.num("client_port") == int64(p) }
}

// both matches what matches all.
func both(all ...func(row) bool) func(row) bool {
	return func(r row) bool {
		for _, m := range all {
			if !m(r) {
				return false
			}
		}
		return true
	}
}

// want compares fields and tags of a row with what must stand there: an int is
// compared with an integer field, a string with a tag or a field.
func want(t *testing.T, r row, values map[string]any) {
	t.Helper()
	for name, v := range values {
		switch v := v.(type) {
		case int:
			if got := r.num(name); got != int64(v) {
				t.Errorf("%s is %d, want %d in %v", name, got, v, r)
			}
		case string:
			got, isTag := r.tags[name]
			if !isTag {
				got = r.str(name)
			}
			if got != v {
				t.Errorf("%s is %q, want %q in %v", name, got, v, r)
			}
		default:
			t.Fatalf("want: %s has type %T", name, v)
		}
	}
}
