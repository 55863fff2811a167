// Package api is the local HTTP API of a running probe: health, what the hooks
// do, and the edges of the last interval. It has no authentication and is only
// ever bound to a loopback address.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Source is what the API shows; every function may be called at any time from
// any goroutine.
type Source struct {
	// Ready returns nil once every hook is attached and existing sockets are known.
	Ready func() error
	// Edges returns the last interval, to be encoded as JSON.
	Edges func() any
	// Status returns hooks, devices, runtimes and counters.
	Status func() any
	// Connections returns, as line protocol, what the log would say now of open
	// connections; terms are those of weir explain.
	Connections func(ctx context.Context, terms []string) ([]byte, error)
}

// Server serves a Source.
type Server struct {
	src Source
	log *slog.Logger
	ln  net.Listener
}

// Listen binds addr, which must be a loopback address.
func Listen(addr string, src Source, log *slog.Logger) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("local API: %w (another weir running? choose another address with --listen, or --listen= for none)", err)
	}
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		ln.Close()
		return nil, fmt.Errorf("local API: %s is not a loopback address", ln.Addr())
	}
	return &Server{src: src, log: log, ln: ln}, nil
}

// Addr is the address served.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Close frees the address of a server that does not run.
func (s *Server) Close() error { return s.ln.Close() }

// Run serves until ctx is done.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("local API: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /api/edges", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.src.Edges()) })
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.src.Status()) })
	mux.HandleFunc("GET /api/connections", s.connections)
	return sameHost(mux)
}

// sameHost refuses requests a web page elsewhere could make the user's browser
// send (DNS rebinding): the Host header must name a loopback address.
func sameHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this API answers to loopback addresses only", http.StatusForbidden)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if err := s.src.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// patience is how long a question may wait for the collector.
const patience = 5 * time.Second

func (s *Server) connections(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	lines, err := s.src.Connections(ctx, r.URL.Query()["end"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(lines) // the client is gone
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w) // escapes <, > and &: safe inside a page
	enc.SetIndent("", " ")
	_ = enc.Encode(v) // the client is gone
}
