package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Recompute adds up past rows again, after an outage: rows that came later than
// a task or continuous query looks back. The same rows give the same sums, in
// the same places.
const Recompute Action = "add up"

// span is a time that one query adds up.
type span struct{ start, stop time.Time }

// spans cut the time that ends now into pieces of whole windows, so that no query
// has to hold too much.
func (l *level) spans(now time.Time, back time.Duration) ([]span, error) {
	window, err := time.ParseDuration(l.window)
	if err != nil {
		return nil, err
	}
	piece := 360 * window
	stop := now.Truncate(window)
	var all []span
	for start := stop.Add(-back).Truncate(window); start.Before(stop); start = start.Add(piece) {
		end := start.Add(piece)
		if end.After(stop) {
			end = stop
		}
		all = append(all, span{start, end})
	}
	return all, nil
}

// recompute plans it, level after level: the second reads what the first writes.
func (p *Plan) recompute(o *Options, places places, now time.Time, do func(context.Context, *level, totals, span) error) error {
	if o.Recompute == 0 || o.NoDownsampling {
		return nil
	}
	for _, l := range levels(places) {
		spans, err := l.spans(now, o.Recompute)
		if err != nil {
			return err
		}
		for _, m := range downsampled {
			t := totalsOf(m, o.Histograms)
			p.add(Step{Action: Recompute, Kind: "rows", Name: l.to.name + " " + m, Detail: "of the last " + days(o.Recompute),
				apply: func(ctx context.Context) error {
					for _, s := range spans {
						if err := do(ctx, &l, t, s); err != nil {
							return fmt.Errorf("from %s to %s: %w", s.start.UTC().Format(time.RFC3339), s.stop.UTC().Format(time.RFC3339), err)
						}
					}
					return nil
				}})
		}
	}
	return nil
}

func (p *planner1) addUp(ctx context.Context, l *level, t totals, s span) error {
	for _, q := range l.influxqlOnce(t, s.start, s.stop) {
		if _, err := p.query(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner2) addUp(ctx context.Context, l *level, t totals, s span) error {
	in, err := json.Marshal(body{"query": l.fluxOnce(t, s.stop, s.stop.Sub(s.start)), "type": "flux"})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"api/v2/query?"+url.Values{"orgID": {p.org}}.Encode(), strings.NewReader(string(in)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.db.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	// An error that comes late is a table with a column of that name.
	if _, text, found := strings.Cut(string(answer), "error,reference"); found {
		return errors.New(strings.Trim(text, "\r\n, "))
	}
	return nil
}
