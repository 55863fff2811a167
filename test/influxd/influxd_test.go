package influxd_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// servers runs f against each real server.
func servers(t *testing.T, f func(t *testing.T, s *influxd.Server)) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) { f(t, influxd.Start(t, version)) })
	}
}

func write(t *testing.T, s *influxd.Server, lines string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v2/write?precision=ns&bucket=weir&org="+s.Org, strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Token "+s.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status)
	}
}

func TestServersKeepWhatIsWrittenOverACrash(t *testing.T) {
	servers(t, func(t *testing.T, s *influxd.Server) {
		write(t, s, "m,a=b v=42i 1000\n")
		s.Kill(t)
		s.Restart(t)
		rows := s.QueryInfluxQL(t, influxd.Bucket, `SELECT v FROM m`)
		if len(rows) != 1 || rows[0].Values["v"] != json.Number("42") || s.Torn(t) != 0 {
			t.Errorf("got %v", rows)
		}
	})
}

// What docs/outages.md says of a server that is killed in the middle of a write: it loses
// what it acknowledges then, when it ends again. Tests that kill servers have to know, and
// a version that does better makes this one fail.
func TestServersLoseWhatIsBehindATear(t *testing.T) {
	servers(t, func(t *testing.T, s *influxd.Server) {
		write(t, s, "m,a=b v=1i 1000\n")
		s.Kill(t)
		s.Tear(t)
		s.Restart(t)
		write(t, s, "m,a=b v=2i 2000\n")
		s.Kill(t)
		s.Restart(t)
		rows := s.QueryInfluxQL(t, influxd.Bucket, `SELECT v FROM m`)
		if torn := s.Torn(t); len(rows) != 1 || rows[0].Values["v"] != json.Number("1") || torn < 2 {
			t.Errorf("torn %d times, got %v", torn, rows)
		}
	})
}
