package setup

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
)

// as is the server asked by whom a token says.
func (s *server) as(o *Options, token string) (*server, error) {
	cfg := o.Server
	cfg.Username, cfg.Password, cfg.TokenFile, cfg.Token = "", "", "", influxdb.Secret(token)
	cfg.URL = strings.TrimSuffix(s.url, "/")
	db, err := influxdb.New(cfg)
	return &server{db, s.url}, err
}

// valid says whether a token may do on 2.x what the role is for. A server that keeps
// hashes of its tokens (2.9 by default) does not tell them again: they can only be tried.
func (p *planner2) valid(ctx context.Context, token string) (bool, error) {
	holder, err := p.as(&p.o, token)
	if err != nil {
		return false, err
	}
	if p.o.role.right == writer.right {
		for _, f := range holder.db.Check(ctx) {
			if f.Problem {
				return false, nil
			}
		}
		return true, nil
	}
	for _, name := range p.o.targets(p.places) {
		var list struct{ Buckets []struct{ ID string } }
		err := holder.call(ctx, http.MethodGet, "api/v2/buckets?"+url.Values{"orgID": {p.org}, "name": {name}}.Encode(), nil, &list)
		if s := status(err); s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusNotFound {
			return false, nil
		}
		if err != nil || len(list.Buckets) != 1 {
			return false, err
		}
	}
	return true, nil
}

// known says why a user:password is not one that 1.x knows.
func (p *planner1) known(ctx context.Context, token string) error {
	holder, err := p.as(&p.o, token)
	if err != nil {
		return err
	}
	_, err = (&planner1{server: *holder}).query(ctx, "SHOW DATABASES") // anybody may, and sees what he may read
	if status(err) == http.StatusUnauthorized {
		return &sink.ConfigError{Err: fmt.Errorf("the password in %s is not that of user %q on this server", p.o.TokenFile, p.o.User),
			Remedy: fmt.Sprintf("SET PASSWORD FOR %s to it, or, for a new one, DROP USER %[1]s and remove the file", ident(p.o.User))}
	}
	return err
}
