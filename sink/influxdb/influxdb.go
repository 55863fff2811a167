package influxdb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	apihttp "github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/klauspost/compress/gzip"

	"github.com/weir-probe/weir/sink"
)

// Sink implements sink.Sink on an InfluxDB server.
type Sink struct {
	cfg     Config
	service apihttp.Service
	client  *http.Client
	targets [sink.Streams]target
	bodies  sync.Pool // *body
	token   atomic.Pointer[string]
	closed  atomic.Bool
}

// target is where a stream goes.
type target struct {
	stream sink.Stream
	bucket string // or database/retention policy
	url    string
}

// New makes a Sink; it does not connect.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	token, err := cfg.secret()
	if err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, bodies: sync.Pool{New: func() any { return newBody() }}}
	s.token.Store(&token)
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:     tlsConfig,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: int(sink.Streams),
			IdleConnTimeout:     90 * time.Second,
		},
		// A redirected POST becomes a GET without rows, and its 200 a success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	opts := influxdb2.DefaultOptions().SetHTTPClient(s.client).SetApplicationName("weir")
	s.service = influxdb2.NewClientWithOptions(cfg.URL, "", opts).HTTPService()
	buckets := [sink.Streams]string{cfg.Bucket, cfg.LogBucket}
	if cfg.v1() {
		buckets = [sink.Streams]string{join(cfg.Database, cfg.RetentionPolicy), join(cfg.LogDatabase, cfg.LogRetentionPolicy)}
	}
	for i, bucket := range buckets {
		q := url.Values{"org": {cfg.Org}, "bucket": {bucket}, "precision": {"ns"}}
		if cfg.Org == "" {
			q.Del("org")
		}
		s.targets[i] = target{sink.Stream(i), bucket, s.service.ServerAPIURL() + "write?" + q.Encode()}
	}
	return s, nil
}

// Name of the sink.
func (s *Sink) Name() string { return s.cfg.Name }

// String says where rows go, without secrets.
func (s *Sink) String() string { return s.cfg.String() }

// Write sends a batch in one request; see sink.Sink for the errors.
func (s *Sink) Write(ctx context.Context, b *sink.Batch) error {
	if s.closed.Load() {
		return fmt.Errorf("write to influxdb: %w", os.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(b.Lines) == 0 {
		return nil
	}
	t := &s.targets[b.Stream]
	a, err := s.post(ctx, t, b.Lines)
	if err == nil && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden) && s.reloadToken() {
		a, err = s.post(ctx, t, b.Lines)
	}
	if err != nil {
		return err
	}
	return s.classify(a, t)
}

// reloadToken reports whether the token file says something new.
func (s *Sink) reloadToken() bool {
	if s.cfg.TokenFile == "" {
		return false
	}
	token, err := s.cfg.secret()
	if err != nil || token == *s.token.Load() {
		return false
	}
	s.token.Store(&token)
	return true
}

// answer is what came back, read as far as it is of interest.
type answer struct {
	status int
	header http.Header
	body   []byte
}

const maxAnswer = 64 << 10

func (s *Sink) post(ctx context.Context, t *target, lines []byte) (*answer, error) {
	body := s.bodies.Get().(*body)
	defer s.bodies.Put(body)
	encoding := "gzip"
	if s.cfg.NoGzip {
		encoding = ""
	} else if err := body.compress(&lines); err != nil {
		return nil, err
	}
	return s.do(ctx, http.MethodPost, t.url, encoding, lines)
}

// do sends one request, with the time it may take.
func (s *Sink) do(ctx context.Context, method, url, encoding string, payload []byte) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, sink.ErrNoAnswer)
	defer cancel()
	// The transport may still read the payload after it has answered; hand it
	// octets that nobody writes to again.
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(bytes.Clone(payload)))
	if err != nil {
		return nil, fmt.Errorf("make request to %s: %w", s.cfg.URL, err)
	}
	resp, err := s.service.DoHTTPRequestWithResponse(req, func(r *http.Request) {
		s.authorize(r)
		r.Header.Set("Content-Type", "text/plain; charset=utf-8")
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
	})
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	// An answer cut short is judged by its status and what there is of it.
	a.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return a, nil
}

func (s *Sink) authorize(r *http.Request) {
	token := *s.token.Load()
	switch user, password, ok := strings.Cut(token, ":"); {
	case token == "":
	case ok && strings.Contains(token, " "): // 1.x takes what is behind a second space for another word
		r.SetBasicAuth(user, password)
	default:
		r.Header.Set("Authorization", "Token "+token)
	}
}

// Close ends the connections. Writes after it fail.
func (s *Sink) Close(context.Context) error {
	s.closed.Store(true)
	s.client.CloseIdleConnections()
	return nil
}

// body compresses, again and again into the same memory.
type body struct {
	buf bytes.Buffer
	gz  *gzip.Writer
}

func newBody() *body {
	b := &body{}
	b.gz, _ = gzip.NewWriterLevel(&b.buf, gzip.BestSpeed) // the level is a valid one
	return b
}

// compress makes lines point at their compressed form, valid until the next call.
func (b *body) compress(lines *[]byte) error {
	b.buf.Reset()
	b.gz.Reset(&b.buf)
	if _, err := b.gz.Write(*lines); err != nil {
		return fmt.Errorf("compress rows: %w", err)
	}
	if err := b.gz.Close(); err != nil {
		return fmt.Errorf("compress rows: %w", err)
	}
	*lines = b.buf.Bytes()
	return nil
}
