package sink

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/correlate"
)

// A row has the highest score of the edges that it is of, as they stand when the interval
// ends, and none where nobody judged any.
func TestScores(t *testing.T) {
	a := NewAggregator(testConfig())
	judged := func(r *correlate.Record, to *float64) {
		r.Score = to
		a.Add(r)
	}
	var first, second, usual float64
	api := listening(container("shop", "api", "shop-api-1", "api"), 8080)
	mail := listening(container("shop", "mail", "shop-mail-1", "mail"), 25)
	for range 2 {
		judged(record(web, db), &first)
		judged(record(web, db), &second)
		judged(record(web, db), nil)
		judged(record(web, api), &usual)
		judged(record(web, mail), nil)
	}
	first, second = 2.5, 7
	scores := func(interval int) map[string]any {
		found := map[string]any{}
		for _, p := range of(points(t, a.Flush(at(interval))), MeasurementFlow) {
			found[p.tags[TagName[ServerEnd]]] = p.fields[FieldScore]
		}
		return found
	}
	if got := fmt.Sprint(scores(1)); got != "map[shop/api:0 shop/db:7 shop/mail:<nil>]" {
		t.Errorf("scores %s", got)
	}
	judged(record(web, db), nil)
	if got := fmt.Sprint(scores(2)); got != "map[shop/db:<nil>]" {
		t.Errorf("scores of the next interval %s", got)
	}
}

// Ports that a scan touched are one row, with the highest score of them.
func TestScoresOfAScan(t *testing.T) {
	a := NewAggregator(testConfig())
	scores := make([]float64, 300)
	for i := range scores {
		r := refused(web, db, uint16(1000+i))
		r.Score = &scores[i]
		a.Add(r)
	}
	scores[7], scores[250] = 3, 4
	ps := of(points(t, a.Flush(at(1))), MeasurementFlow)
	if len(ps) != 1 || ps[0].fields[FieldScore] != 4.0 {
		t.Errorf("%d rows, the first %v", len(ps), ps[0].fields)
	}
}

// More scores than there is room for are counted, and cost no row.
func TestScoresAreBounded(t *testing.T) {
	a := NewAggregator(testConfig())
	scores := [2]float64{1, 2}
	r := record(web, db)
	for i := range maxScores + 10 {
		r.Score = &scores[i%2]
		a.Add(r)
	}
	ps := of(points(t, a.Flush(at(1))), MeasurementFlow)
	if s := a.Stats(); s.ScoresLost != 10 || len(ps) != 1 || ps[0].fields[FieldScore] != 2.0 || cap(a.scores) > 2*maxScores {
		t.Errorf("%d lost, room for %d, rows %v", s.ScoresLost, cap(a.scores), ps)
	}
}
