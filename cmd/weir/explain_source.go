package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/weir-probe/weir/cmd/weir/internal/explain"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/decode"
	"github.com/weir-probe/weir/sink/journal"
)

// evidence is where weir explain reads: a file, or the journal and the running probe.
type evidence struct {
	cfg   *Config
	file  string
	stdin io.Reader
	asked string // what became of asking the running probe
}

// maxLine bounds a line of line protocol, octets: longer ones are no rows of ours.
const maxLine = 1 << 20

// lines opens the source; what it returns can be read more than once.
func (v *evidence) lines(ctx context.Context, args []string, s *explain.Selector) (explain.Lines, error) {
	if v.file != "" {
		return v.fileLines()
	}
	if v.cfg.Journal.Dir == "" {
		return nil, errors.New("the journal is switched off; name another with --journal, or a file of line protocol with --file")
	}
	h, err := journal.OpenHistory(v.cfg.Journal.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w (name another journal with --journal, or a file of line protocol with --file)", err)
	}
	// A batch may be written an interval after the rows in it; the row that tells
	// of a connection that lived at some time comes after that time.
	from, to := time.Unix(0, s.From), time.Unix(0, math.MaxInt64)
	open := v.running(ctx, args, s)
	return func(fn func([]byte) error) error {
		err := h.Query(from, to, sink.Log, func(b *sink.Batch) error { return each(b.Lines, fn) })
		if err != nil {
			return err
		}
		return each(open, fn)
	}, nil
}

func each(lines []byte, fn func([]byte) error) error {
	for l := range bytes.Lines(lines) {
		if err := fn(l); err != nil {
			return err
		}
	}
	return nil
}

// maxOpen bounds what a probe may answer, octets.
const maxOpen = 16 << 20

// running asks the running probe for open connections, which the log does not
// have yet: what it would say of them now. Nobody need answer.
func (v *evidence) running(ctx context.Context, args []string, s *explain.Selector) []byte {
	if v.cfg.Listen == "" || s.To != 0 && time.Since(time.Unix(0, s.To)) > v.cfg.Rows.LogHeartbeat {
		return nil // whatever lived then is in the log
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	u := url.URL{Scheme: "http", Host: v.cfg.Listen, Path: "/api/connections", RawQuery: url.Values{"end": args}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		v.asked = "; the running probe could not be asked: " + err.Error()
		return nil
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		v.asked = "; no probe answers at " + v.cfg.Listen + " to tell of open connections (--listen)"
		return nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxOpen))
	if err != nil || res.StatusCode != http.StatusOK {
		v.asked = fmt.Sprintf("; the probe at %s does not tell of open connections: %s", v.cfg.Listen, res.Status)
		return nil
	}
	v.asked = "; nor does the running probe know it as open"
	return b[:bytes.LastIndexByte(b, '\n')+1]
}

func (v *evidence) fileLines() (explain.Lines, error) {
	if v.file == "-" {
		b, err := io.ReadAll(v.stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return func(fn func([]byte) error) error { return eachLine(bytes.NewReader(b), fn) }, nil
	}
	if st, err := os.Stat(v.file); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	} else if st.IsDir() {
		return nil, fmt.Errorf("read rows: %s is a folder: a journal is named with --journal", v.file)
	}
	return func(fn func([]byte) error) error {
		f, err := os.Open(v.file)
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		defer f.Close()
		return eachLine(f, fn)
	}, nil
}

func eachLine(r io.Reader, fn func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	for s.Scan() {
		if err := fn(s.Bytes()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return nil
}

// why says why nothing was found.
func (v *evidence) why(f *explain.Found, s *explain.Selector) string {
	if f.Rows == 0 {
		return v.whyEmpty(s)
	}
	first, last := time.Unix(0, f.Oldest), time.Unix(0, f.Newest)
	text := fmt.Sprintf("%d rows of flow_log from %s to %s were looked at, none matches", f.Rows,
		first.Format("2006-01-02 15:04:05"), last.Format("15:04:05"))
	if s.To != 0 && s.To < f.Oldest {
		text += "; the log does not go back that far any more"
	}
	if n := v.suppressed(s); n > 0 {
		text += fmt.Sprintf("; %d rows were not written to keep the rate (flow_log_rate), it may be one of them", n)
	}
	if v.file == "" {
		text += fmt.Sprintf("; an open connection is written at its end and every %s", v.cfg.Rows.LogHeartbeat)
	}
	return text + v.asked
}

func (v *evidence) whyEmpty(s *explain.Selector) string {
	switch {
	case v.file != "":
		return "no row of flow_log in the file for that time"
	case v.cfg.FlowLogRate == 0:
		return "flow_log is switched off (flow_log_rate: 0)"
	case s.From != 0:
		return fmt.Sprintf("no row of flow_log since %s in %s (--since, --at)%s", time.Unix(0, s.From).Format("2006-01-02 15:04:05"), v.cfg.Journal.Dir, v.asked)
	}
	return "no row of flow_log in " + v.cfg.Journal.Dir + v.asked
}

// suppressed adds up the rows that the probe says it did not write.
func (v *evidence) suppressed(s *explain.Selector) (n int64) {
	if v.file != "" {
		return 0
	}
	h, err := journal.OpenHistory(v.cfg.Journal.Dir)
	if err != nil {
		return 0
	}
	self := []byte(sink.MeasurementSelf + ",")
	_ = h.Query(time.Unix(0, s.From), time.Unix(0, math.MaxInt64), sink.Main, func(b *sink.Batch) error { // what can't be read is not counted
		for l := range bytes.Lines(b.Lines) {
			if !bytes.HasPrefix(l, self) {
				continue
			}
			if r, err := decode.Parse(l); err == nil {
				n += r.Int(string(sink.SelfLogSuppressed))
			}
		}
		return nil
	})
	return n
}
