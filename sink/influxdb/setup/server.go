package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
)

// server is who is asked.
type server struct {
	db  *influxdb.Sink
	url string // with a slash at its end
}

// New looks at the server and plans what to do; it changes nothing.
func New(ctx context.Context, o Options) (*Plan, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	db, err := influxdb.New(o.Server)
	if err != nil {
		return nil, err
	}
	version, err := db.Version(ctx)
	if err != nil {
		return nil, err
	}
	s := server{db, db.ServerURL()}
	p := &Plan{Server: fmt.Sprintf("InfluxDB %s at %s", version, strings.TrimSuffix(s.url, "/"))}
	switch major, minor := release(version); {
	case major == 1 && minor >= 8:
		err = (&planner1{s, o, o.places(db), p}).plan(ctx)
	case major == 2:
		err = plan2(ctx, s, o, p)
	case major == 3:
		err = (&planner3{s, o, o.places(db), p}).plan(ctx)
	default:
		err = &sink.ConfigError{Err: fmt.Errorf("InfluxDB %s at %s", version, strings.TrimSuffix(s.url, "/")),
			Remedy: "this version is not one that weir setup knows: 1.8 or later, 2.x, 3 Core"}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// release is 0, 0 for what is no version.
func release(version string) (major, minor int) {
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 {
		return 0, 0
	}
	return major, minor
}

// call sends in as JSON and reads the answer into out; both may be nil.
func (s *server) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.db.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("understand the answer of %s%s: %w", s.url, path, err)
	}
	return nil
}

// status is that of the answer an error is about; 0: it is about none.
func status(err error) int {
	if a, ok := errors.AsType[*influxdb.AnswerError](err); ok {
		return a.Status
	}
	return 0
}
