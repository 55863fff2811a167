package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
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
	return m.find(ctx, (*receiver).check)
}

// Test sends every receiver one alert that says that it is a test, whatever it filters.
func (m *Manager) Test(ctx context.Context) []Finding {
	return m.find(ctx, (*receiver).test)
}

func (m *Manager) find(ctx context.Context, look func(*receiver, context.Context) (string, error)) []Finding {
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
		f.Detail, f.Err = look(r, ctx)
	})
	return list
}

// typeTest is the type of what Test sends.
const typeTest sink.EventType = "test"

func (r *receiver) test(ctx context.Context) (detail string, err error) {
	now := time.Now()
	a := Alert{Event: sink.Event{Type: typeTest, Severity: r.to.Severity, Message: "this is a test by weir doctor: nothing is wrong"}}
	body, err := r.wire.encode(r.message([]item{{Alert: a, key: a.key(), began: now, changed: now, count: 1}}))
	if err == nil {
		err = r.post(ctx, body)
	}
	if err != nil {
		return "", err
	}
	return r.to.target() + " has taken a test alert", nil
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
		proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
		if err != nil {
			return "", fmt.Errorf("%s: %w", where, err)
		}
		if proxy != nil {
			where, u = "the proxy "+proxy.Host+" of "+where, proxy
		}
		if err := r.connect(ctx, u.Scheme, u.Hostname(), u.Port()); err != nil {
			return "", fmt.Errorf("%s: %w", where, err)
		}
		return where + " can be connected to; whether alerts are taken, weir doctor --alert shows", nil
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
		return "", fmt.Errorf("%s: %s", where, clean(hide.Replace(unwrapped(err).Error()), 400))
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %d where an Alertmanager has its status: the URL is what stands before /api", where, resp.StatusCode)
	}
	return where + " is an Alertmanager", nil
}

// connect opens and closes a connection as a request would.
func (r *receiver) connect(ctx context.Context, scheme, host, port string) error {
	if port == "" {
		port = scheme // socks5 has no service name, and no default port with net/http either
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
