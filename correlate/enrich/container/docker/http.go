package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// maxBody bounds an answer: the list of 16 384 containers with their labels.
const maxBody = 64 << 20

// wantedAPI is what the client was written to; any API since 1.24 (2016) has all
// of it, and an engine may have dropped the old ones.
const wantedAPI = "1.41"

var errGone = errors.New("no such container")

// newHTTP returns a client that speaks to the socket whatever the URL says.
func (c *Client) newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: c.cfg.Timeout}
			return d.DialContext(ctx, "unix", c.socket)
		},
		ResponseHeaderTimeout:  c.cfg.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		MaxIdleConns:           2,
	}}
}

// get fetches a whole answer within the timeout.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	body, err := c.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the engine's answer to %s: %w", path, err)
	}
	if len(b) > maxBody {
		return nil, fmt.Errorf("read the engine's answer to %s: more than %d octets", path, maxBody)
	}
	return b, nil
}

func (c *Client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the engine for %s: %w", path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the engine for %s: %w", path, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, errGone
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
	return nil, fmt.Errorf("ask the engine for %s: it answers %s: %q", path, resp.Status, text)
}

// negotiate picks the API version: the wanted one, or the nearest to it that the
// engine has.
func (c *Client) negotiate(ctx context.Context) (version, prefix string, err error) {
	b, err := c.get(ctx, "/version")
	if err != nil {
		return "", "", err
	}
	var v struct {
		Version       string `json:"Version"`
		APIVersion    string `json:"ApiVersion"`
		MinAPIVersion string `json:"MinAPIVersion"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return "", "", fmt.Errorf("decode the engine's version: %w", err)
	}
	api := wantedAPI
	if older(v.APIVersion, api) {
		api = v.APIVersion
	}
	if older(api, v.MinAPIVersion) {
		api = v.MinAPIVersion
	}
	if _, _, ok := parseAPI(api); !ok || v.APIVersion == "" {
		return "", "", fmt.Errorf("decode the engine's version: %q is no API version; is %s an engine's socket?", limit(v.APIVersion, 32), c.socket)
	}
	return fmt.Sprintf("%s, API %s", limit(v.Version, 64), api), "/v" + api, nil
}

// older compares two API versions; what is no version is never older.
func older(a, b string) bool {
	aMajor, aMinor, okA := parseAPI(a)
	bMajor, bMinor, okB := parseAPI(b)
	return okA && okB && (aMajor < bMajor || aMajor == bMajor && aMinor < bMinor)
}

func parseAPI(s string) (major, minor uint64, ok bool) {
	a, b, _ := strings.Cut(s, ".")
	major, err1 := strconv.ParseUint(a, 10, 16)
	minor, err2 := strconv.ParseUint(b, 10, 16)
	return major, minor, err1 == nil && err2 == nil
}
