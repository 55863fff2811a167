package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestAPI(t *testing.T) {
	var notReady error = errors.New("attaching")
	s, err := Listen("127.0.0.1:0", Source{
		Ready:  func() error { return notReady },
		Edges:  func() any { return []string{"<script>"} },
		Status: func() any { return map[string]int{"hooks": 3} },
		Connections: func(ctx context.Context, terms []string) ([]byte, error) {
			if _, bounded := ctx.Deadline(); !bounded || len(terms) != 2 {
				return nil, errors.New("not the two ends asked for, or no deadline")
			}
			return []byte(terms[0] + "," + terms[1]), nil
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	get := func(path, host string) (int, string) {
		req, _ := http.NewRequest("GET", "http://"+s.Addr()+path, nil)
		if host != "" {
			req.Host = host
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, body := get("/health", ""); code != 503 || !strings.Contains(body, "attaching") {
		t.Errorf("not ready: %d %q", code, body)
	}
	notReady = nil
	if code, _ := get("/health", ""); code != 200 {
		t.Errorf("ready: %d", code)
	}
	if code, body := get("/api/edges", ""); code != 200 || strings.Contains(body, "<script>") {
		t.Errorf("edges: %d %q", code, body)
	}
	if code, body := get("/api/connections?end=10.0.0.1:80&end=443", ""); code != 200 || body != "10.0.0.1:80,443" {
		t.Errorf("connections: %d %q", code, body)
	}
	if code, body := get("/api/connections", ""); code != 503 || !strings.Contains(body, "not the two ends") {
		t.Errorf("connections that can't be told: %d %q", code, body)
	}
	if code, _ := get("/api/status", "evil.example:80"); code != 403 {
		t.Errorf("foreign host header: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestListenRefusesOtherAddresses(t *testing.T) {
	if s, err := Listen("0.0.0.0:0", Source{}, slog.New(slog.DiscardHandler)); err == nil {
		s.ln.Close()
		t.Error("0.0.0.0 was accepted")
	}
}
