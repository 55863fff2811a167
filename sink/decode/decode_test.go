package decode

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte("flow_log,client=a\\ b,x=y client_pid=7i,client_process=\"c\\\"d\",duration_seconds=1.5,client_port=\"no number\",unknown=1i 42\n"))
	want := &Row{Measurement: "flow_log", Time: 42, Tags: map[string]string{"client": "a b", "x": "y"},
		Fields: map[string]any{"client_pid": int64(7), "client_process": `c"d`, "duration_seconds": 1.5}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got.Int("client_pid") != 7 || got.Int("client_process") != 0 || got.Text("client_process") != `c"d` || got.Text("nothing") != "" || got.Has("client_port") {
		t.Errorf("read %+v", got)
	}
	many := "flow_log" + strings.Repeat(",a=b", maxNames+2) + " client_pid=1i 1"
	for _, bad := range []string{"", "flow_log", "flow_log,a", "flow_log,a=b c=", "flow_log,a=b client_pid=1i", "flow_log,a=b client_pid=1i x", many} {
		if r, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%.40q is %+v", bad, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("flow_log,client=a client_pid=7i 42"))
	f.Add([]byte("weir_self,stage=sink log_rows=1i,coverage=NaN 1"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, err := Parse(line); err == nil && (r.Tags == nil || r.Fields == nil || r.Measurement == "") {
			t.Errorf("%+v", r)
		}
	})
}
