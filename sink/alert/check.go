package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Finding is what Check has to say of a receiver; no secret is in it.
type Finding struct {
	Name   string
	Kind   Kind
	Detail string
	Err    error // nil: it can be told
}

// Check tries to reach every receiver without telling it anything: an Alertmanager is
// asked for its status, others are connected to.
func (m *Manager) Check(ctx context.Context) []Finding {
	list := make([]Finding, len(m.receivers))
	at := map[*receiver]*Finding{}
	for i, r := range m.receivers {
		at[r] = &list[i]
	}
	m.each(func(r *receiver) {
		f := at[r]
		f.Name, f.Kind = r.to.Name, r.to.Kind
		ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
		defer cancel()
		f.Detail, f.Err = r.check(ctx)
	})
	return list
}

func (r *receiver) check(ctx context.Context) (detail string, err error) {
	u, err := r.to.address()
	if err != nil {
		return "", err
	}
	token := ""
	if r.to.TokenFile != "" {
		if token, err = readSecret(r.to.TokenFile); err != nil {
			return "", err
		}
	}
	where := u.Scheme + "://" + u.Host
	if r.to.Kind != Alertmanager {
		if err := r.connect(ctx, u.Scheme, u.Hostname(), u.Port()); err != nil {
			return "", fmt.Errorf("%s: %w", where, err)
		}
		return where + " can be connected to; whether it takes alerts, the first one shows", nil
	}
	to := r.wire.endpoint(u)
	hide := secrets(to, token)
	to.Path = strings.TrimSuffix(to.Path, "alerts") + "status"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return "", errors.New(hide.Replace(unwrapped(err).Error()))
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("%s: %s", where, hide.Replace(unwrapped(err).Error()))
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %d where an Alertmanager has its status: the URL is what stands before /api", where, resp.StatusCode)
	}
	return where + " is an Alertmanager", nil
}

// connect opens and closes a connection as a request would, but for a proxy.
func (r *receiver) connect(ctx context.Context, scheme, host, port string) error {
	if port == "" {
		port = scheme
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	defer c.Close()
	if scheme != "https" {
		return nil
	}
	cfg := r.tls.Clone()
	cfg.ServerName = host
	return tls.Client(c, cfg).HandshakeContext(ctx)
}
