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

	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

// perContainer bounds an answer, the list of all containers with their labels:
// octets of it for each that is kept (64 MiB by default).
const perContainer = 4 << 10

// wantedAPI is what the client was written to; any API since 1.24 (2016) has all
// of it, and an engine may have dropped the old ones.
const wantedAPI = "1.41"

var errGone = errors.New("no such container")

// newHTTP returns a client that speaks to the socket whatever the URL says.
func (c *Client) newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: c.Timeout}
			return d.DialContext(ctx, "unix", c.Socket())
		},
		ResponseHeaderTimeout:  c.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		MaxIdleConns:           2,
	}}
}

// get fetches a whole answer within the timeout.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	body, err := c.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	limit := perContainer * c.MaxContainers
	b, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read the engine's answer to %s: %w", path, err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("read the engine's answer to %s: more than %d octets", path, limit)
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
		Components    []struct {
			Name    string                      `json:"Name"`
			Details struct{ APIVersion string } `json:"Details"`
		} `json:"Components"`
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
		return "", "", fmt.Errorf("decode the engine's version: %q is no API version; is %s an engine's socket?", engine.Limit(v.APIVersion, 32), c.Socket())
	}
	kind := ""
	c.podman.prefix = ""
	for _, x := range v.Components {
		if own := x.Details.APIVersion; x.Name == "Podman Engine" && isVersion(own) {
			kind, c.podman.prefix = "Podman ", "/v"+own+"/libpod"
		}
	}
	return kind + fmt.Sprintf("%s, API %s", engine.Limit(v.Version, 64), api), "/v" + api, nil
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

// isVersion says whether s is made of digits and dots only: it becomes part of a path.
func isVersion(s string) bool {
	return s != "" && len(s) < 32 && strings.Trim(s, "0123456789.") == ""
}
