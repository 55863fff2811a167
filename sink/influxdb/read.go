package influxdb

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// Query asks for what is in a stream's bucket or database, in InfluxQL: the one
// language that 1.x, 2.x (through the DBRP mapping that every bucket has) and 3
// answer. It calls f for each row with its values by column; numbers are
// json.Number, `time` is unix ns.
func (s *Sink) Query(ctx context.Context, stream sink.Stream, q string, f func(map[string]any) error) error {
	db, policy, _ := strings.Cut(s.targets[stream].bucket, "/")
	form := url.Values{"q": {q}, "db": {db}, "epoch": {"ns"}, "chunked": {"true"}}
	if policy != "" {
		form.Set("rp", policy)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.service.ServerURL()+"query", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("make request to %s: %w", s.cfg.URL, err)
	}
	resp, err := s.service.DoHTTPRequestWithResponse(req, func(r *http.Request) {
		s.authorize(r)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})
	if err != nil {
		return s.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("read from %s: %s: %s", db, resp.Status, clip(string(bytes.TrimSpace(b))))
	}
	d := json.NewDecoder(bufio.NewReaderSize(resp.Body, 1<<16))
	d.UseNumber()
	for {
		var c chunk
		if err := d.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read from %s: %w", db, err)
		}
		if err := c.rows(f); err != nil {
			return fmt.Errorf("read from %s: %w", db, err)
		}
	}
}

// chunk is a part of the answer to a query.
type chunk struct {
	Error   string
	Results []struct {
		Error  string
		Series []struct {
			Columns []string
			Values  [][]any
		}
	}
}

func (c *chunk) rows(f func(map[string]any) error) error {
	if c.Error != "" {
		return errors.New(c.Error)
	}
	for _, r := range c.Results {
		if r.Error != "" {
			return errors.New(r.Error)
		}
		for _, series := range r.Series {
			for _, values := range series.Values {
				row := make(map[string]any, len(values))
				for i, name := range series.Columns {
					if i < len(values) && values[i] != nil {
						row[name] = values[i]
					}
				}
				if err := f(row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// DeleteHost deletes every row of a host from both streams.
func (s *Sink) DeleteHost(ctx context.Context, host string) error {
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	for i := range s.targets {
		t := &s.targets[i]
		switch {
		case strings.HasPrefix(version, "1."):
			q := "DROP SERIES WHERE " + quote(sink.TagHost, `"`) + " = " + quote(host, "'")
			err = s.Query(ctx, t.stream, q, func(map[string]any) error { return nil })
		case strings.HasPrefix(version, "2."):
			err = s.delete(ctx, t, sink.TagHost+"="+quote(host, `"`))
		default:
			err = fmt.Errorf("InfluxDB %s cannot delete rows", version)
		}
		if err != nil {
			return fmt.Errorf("delete the rows of host %s from %s: %w", host, t.bucket, err)
		}
	}
	return nil
}

func (s *Sink) delete(ctx context.Context, t *target, predicate string) error {
	body, err := json.Marshal(map[string]string{
		"start": time.Unix(0, 0).UTC().Format(time.RFC3339), "stop": "2200-01-01T00:00:00Z", "predicate": predicate,
	})
	if err != nil {
		return err
	}
	q := url.Values{"org": {s.cfg.Org}, "bucket": {t.bucket}}
	a, err := s.do(ctx, http.MethodPost, s.service.ServerAPIURL()+"delete?"+q.Encode(), "", body)
	if err != nil {
		return err
	}
	if a.status >= 300 {
		return fmt.Errorf("%d %s: %s", a.status, http.StatusText(a.status), clip(s.said(a)))
	}
	return nil
}

// quote is InfluxQL's and the delete predicate's: a backslash before what would end it.
func quote(s, q string) string {
	return q + strings.NewReplacer(`\`, `\\`, q, `\`+q).Replace(s) + q
}
