package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// client asks without keeping connections for ever: a demo shows connections, too.
func client() *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 5 * time.Second}}
}

func serve(ctx context.Context, addr string, h http.Handler) error {
	s := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func get(ctx context.Context, c *http.Client, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// load asks url again and again; that it fails now and then is what it is for.
func load(ctx context.Context, url string, every time.Duration) error {
	c, t := client(), time.NewTicker(every)
	defer t.Stop()
	paths := []string{"/", "/cart", "/cart/42", "/item/7", "/item/8"}
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		go get(ctx, c, url+paths[i%len(paths)]) //nolint: see above
	}
}

// web passes on what it is asked.
func web(api string) http.Handler {
	c := client()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		status, err := get(r.Context(), c, api+r.URL.EscapedPath())
		if err != nil {
			status = http.StatusBadGateway
		}
		w.WriteHeader(status)
		io.WriteString(w, "<html>shop</html>\n")
	})
}

// api looks each answer up in the cache, by a connection of its own.
func api(cache string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		value, err := lookup(r.Context(), cache, r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "{%q: %q}\n", r.URL.Path, value)
	})
}

// lookup is one GET of the Redis protocol.
func lookup(ctx context.Context, addr, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		c.SetDeadline(d)
	}
	if _, err := fmt.Fprintf(c, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// pager prints the alerts of the probe's webhook, one a line.
func pager(to io.Writer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Host   string
			Alerts []struct {
				Status, Type, Severity, Client, Server, Message string
				By                                              *struct{ Process, Cmdline string } `json:"client_actor"`
			}
		}
		if r.Method != http.MethodPost {
			return
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, a := range body.Alerts {
			fmt.Fprintf(to, "%q: %s %s (%s): %q %q: %q", body.Host, a.Status, a.Type, a.Severity, a.Client, a.Server, a.Message)
			if a.By != nil {
				fmt.Fprintf(to, " by %q: %q", a.By.Process, a.By.Cmdline)
			}
			fmt.Fprintln(to)
		}
	})
}

// health asks an URL, or connects to an address.
func health(ctx context.Context, target string) error {
	if !strings.Contains(target, "://") {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		return c.Close()
	}
	status, err := get(ctx, client(), target)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answers %d", target, status)
	}
	return err
}
