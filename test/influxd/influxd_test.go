package influxd_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

func TestServersKeepWhatIsWrittenOverACrash(t *testing.T) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			s := influxd.Start(t, version)
			req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v2/write?precision=ns&bucket=weir&org="+s.Org, strings.NewReader("m,a=b v=42i 1000\n"))
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
			s.Kill(t)
			s.Restart(t)
			rows := s.QueryInfluxQL(t, influxd.Bucket, `SELECT v FROM m`)
			if len(rows) != 1 || rows[0].Values["v"] != json.Number("42") {
				t.Errorf("got %v", rows)
			}
		})
	}
}
