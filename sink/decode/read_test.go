package decode

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/sink"
)

const written = `flow,host=h\ 1,proto=tcp to_server_bytes=7i,rtt_avg_seconds=0.5,stranger=true 1000
weir_self,host=h lost=1i 1000
flow_log,host=h client_address="10.0.0.1",client_cmdline="say \"a, b=c\"\\" 1001

flow_log,host=h client_address="half`

func TestRead(t *testing.T) {
	var got []Row
	err := Read(strings.NewReader(written), func(r *Row) error { got = append(got, *r); return nil },
		sink.MeasurementFlow, sink.MeasurementFlowLog)
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{
		{Measurement: "flow", Tags: map[string]string{"host": "h 1", "proto": "tcp"},
			Fields: map[string]any{"to_server_bytes": int64(7), "rtt_avg_seconds": 0.5}, Time: 1000},
		{Measurement: "flow_log", Tags: map[string]string{"host": "h"},
			Fields: map[string]any{"client_address": "10.0.0.1", "client_cmdline": `say "a, b=c"\`}, Time: 1001},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReadErrors(t *testing.T) {
	err := Read(strings.NewReader("flow,host=h a=1i 1\nflow,host=h a=1x 2\n"), func(*Row) error { return nil }, "flow")
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken line: %v", err)
	}
	stop := errors.New("enough")
	if err := Read(strings.NewReader(written), func(*Row) error { return stop }, "flow"); !errors.Is(err, stop) {
		t.Errorf("the reader's own error: %v", err)
	}
}
