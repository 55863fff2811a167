package influxd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Row of an answer to InfluxQL: its series' tags and the values by column.
type Row struct {
	Measurement string
	Tags        map[string]string
	Values      map[string]any // numbers are json.Number, time is a json.Number of ns
}

// QueryInfluxQL asks the v1 endpoint, which both versions have.
func (s *Server) QueryInfluxQL(t testing.TB, db, q string) []Row {
	t.Helper()
	form := url.Values{"q": {q}, "epoch": {"ns"}}
	if db != "" {
		form.Set("db", db)
	}
	var answer struct {
		Error   string `json:"error"`
		Results []struct {
			Error  string `json:"error"`
			Series []struct {
				Name    string            `json:"name"`
				Tags    map[string]string `json:"tags"`
				Columns []string          `json:"columns"`
				Values  [][]any           `json:"values"`
			} `json:"series"`
		} `json:"results"`
	}
	body := s.request(t, "POST", "/query", "application/x-www-form-urlencoded", []byte(form.Encode()))
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&answer); err != nil {
		t.Fatalf("%s: %v in %.300s", q, err, body)
	}
	var rows []Row
	for _, r := range answer.Results {
		if r.Error != "" {
			t.Fatalf("%s: %s", q, r.Error)
		}
		for _, series := range r.Series {
			for _, v := range series.Values {
				row := Row{Measurement: series.Name, Tags: series.Tags, Values: map[string]any{}}
				for i, c := range series.Columns {
					row.Values[c] = v[i]
				}
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// call sends in as JSON and reads the answer into out.
func (s *Server) call(t testing.TB, method, path string, in, out any) {
	t.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	b := s.request(t, method, path, "application/json", body)
	if out == nil {
		return
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("%s %s: %v in %.300s", method, path, err, b)
	}
}

// request fails t unless the answer is a success.
func (s *Server) request(t testing.TB, method, path, contentType string, body []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if s.Token != "" {
		req.Header.Set("Authorization", "Token "+s.Token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, statusError(resp, b)); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return b
}

func statusError(resp *http.Response, body []byte) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return fmt.Errorf("%s: %.500s", resp.Status, body)
}
