package dashboards

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// server is a real InfluxDB with both databases, and on 2.x two tokens with just
// the rights that deploy/compose gives; empty for 1.8.
type server struct {
	*influxd.Server
	readToken, writeToken string
}

func startServer(t *testing.T, version string) *server {
	t.Helper()
	s := &server{Server: influxd.Start(t, version)}
	if !s.V1() {
		s.likeCompose(t)
	}
	return s
}

// likeCompose leaves the server as one that nobody has run `weir setup influxdb` on: no
// DBRP mapping but the virtual one; a token that may only write and one that may only
// read.
func (s *server) likeCompose(t *testing.T) {
	t.Helper()
	var orgs struct{ Orgs []struct{ ID string } }
	s.call(t, http.MethodGet, "/api/v2/orgs?org="+url.QueryEscape(s.Org), nil, &orgs)
	org := orgs.Orgs[0].ID
	var mappings struct {
		Content []struct {
			ID      string
			Virtual bool
		}
	}
	s.call(t, http.MethodGet, "/api/v2/dbrps?orgID="+org, nil, &mappings)
	for _, m := range mappings.Content {
		if !m.Virtual {
			s.call(t, http.MethodDelete, "/api/v2/dbrps/"+m.ID+"?orgID="+org, nil, nil)
		}
	}
	token := func(action string) string {
		var permissions []map[string]any
		for _, db := range []database{mainDB, logDB} {
			var list struct{ Buckets []struct{ ID string } }
			s.call(t, http.MethodGet, "/api/v2/buckets?name="+string(db), nil, &list)
			permissions = append(permissions, map[string]any{"action": action,
				"resource": map[string]any{"type": "buckets", "orgID": org, "id": list.Buckets[0].ID}})
		}
		var auth struct{ Token string }
		s.call(t, http.MethodPost, "/api/v2/authorizations", map[string]any{"orgID": org, "permissions": permissions}, &auth)
		return auth.Token
	}
	s.readToken, s.writeToken = token("read"), token("write")
}

// call asks the v2 API as the administrator.
func (s *server) call(t *testing.T, method, path string, request, reply any) {
	t.Helper()
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.do(s.Token, method, path, "application/json", string(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if reply == nil {
		return
	}
	if err := json.Unmarshal(b, reply); err != nil {
		t.Fatalf("%s %s: decode reply: %v", method, path, err)
	}
}

func (s *server) write(t *testing.T, db database, lines []byte) {
	t.Helper()
	if len(lines) == 0 {
		t.Fatalf("no sample rows for %s", db)
	}
	if _, err := s.do(s.writeToken, http.MethodPost, "/api/v2/write?precision=ns&org="+url.QueryEscape(s.Org)+"&bucket="+string(db), "text/plain", string(lines)); err != nil {
		t.Fatal(err)
	}
}

// ask runs one statement; an error inside the answer is an error.
func (s *server) ask(db, text string) (answer, error) {
	body, err := s.do(s.readToken, http.MethodPost, "/query?db="+url.QueryEscape(db), "application/x-www-form-urlencoded", url.Values{"q": {text}}.Encode())
	if err != nil {
		return nil, err
	}
	var reply struct {
		Error   string
		Results []struct {
			Error  string
			Series answer
		}
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	if reply.Error != "" || len(reply.Results) != 1 || reply.Results[0].Error != "" {
		return nil, fmt.Errorf("refused: %s", body)
	}
	return reply.Results[0].Series, nil
}

func (s *server) do(token, method, path, contentType, body string) ([]byte, error) {
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask InfluxDB: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("InfluxDB answers %s: %s", resp.Status, b)
	}
	return b, nil
}
