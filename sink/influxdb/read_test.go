package influxdb_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
)

func reader(t *testing.T, h http.HandlerFunc) *influxdb.Sink {
	t.Helper()
	s, err := influxdb.New(influxdb.Config{URL: stub(t, h).URL, Org: "o", Bucket: "db/rp", LogBucket: "log", Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(t.Context()) })
	return s
}

// What real servers answer is tested by test/selftest; here is what goes wrong.
func TestQuery(t *testing.T) {
	chunks := `{"results":[{"series":[{"name":"m","columns":["time","n","s"],"values":[[5,9007199254740993,"x"]],"partial":true}],"partial":true}]}
{"results":[{"series":[{"name":"m","columns":["time","n","s"],"values":[[6,null,"y"]]}]}]}`
	s := reader(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("db") != "db" || r.FormValue("rp") != "rp" || r.FormValue("q") != "Q" || r.Header.Get("Authorization") != "Token secret" {
			http.Error(w, "not what was asked", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, chunks)
	})
	var rows []map[string]any
	if err := s.Query(t.Context(), sink.Main, "Q", func(r map[string]any) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0]["n"] != json.Number("9007199254740993") || rows[0]["s"] != "x" || rows[1]["s"] != "y" {
		t.Errorf("%v", rows)
	}
	if _, there := rows[1]["n"]; there {
		t.Error("an absent value is a column")
	}
	stop := errors.New("enough")
	if err := s.Query(t.Context(), sink.Main, "Q", func(map[string]any) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the reader's own error: %v", err)
	}
}

func TestQueryErrors(t *testing.T) {
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		says string
	}{
		"refused":        {always(http.StatusForbidden, nil, `{"message":"may not read"}`), "may not read"},
		"of the answer":  {always(http.StatusOK, nil, `{"error":"no such"}`), "no such"},
		"of a statement": {always(http.StatusOK, nil, `{"results":[{"error":"database not found: db"}]}`), "database not found"},
		"cut short":      {always(http.StatusOK, nil, `{"results":[{"ser`), "read from db"},
	} {
		err := reader(t, c.h).Query(t.Context(), sink.Main, "Q", func(map[string]any) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeleteHostErrors(t *testing.T) {
	for version, says := range map[string]string{"2.7.12": "403", "3.1.0": "cannot delete"} {
		s := reader(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Influxdb-Version", version)
			if strings.Contains(r.URL.Path, "delete") {
				w.WriteHeader(http.StatusForbidden)
			}
		})
		if err := s.DeleteHost(t.Context(), `h"1`); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", version, err)
		}
	}
}
