package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/kafkad"
	"github.com/weir-probe/weir/test/machine"
)

// sinksOf is what weir doctor prints of the sinks of a configuration, and whether the
// probe could do its job with them.
func sinksOf(t *testing.T, sink string) (printed string, ok bool) {
	t.Helper()
	cfg, err := loadConfig("/dev/null", []given{{"sink", sink}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checks := examineSinks(t.Context(), &cfg, env{stdout: io.Discard, stderr: io.Discard})
	var out bytes.Buffer
	printChecks(&out, checks)
	return out.String(), healthy(checks)
}

// TestDoctorLooksAtKafka: a broker that is away is no failure, for rows wait; a topic that
// nobody has made is.
func TestDoctorLooksAtKafka(t *testing.T) {
	dead := machine.FreeAddress(t)
	if out, ok := sinksOf(t, "kafka://"+dead+"/weir"); !ok || !strings.Contains(out, "  limited kafka "+dead) ||
		!strings.Contains(out, "connection refused") || !strings.Contains(out, "→ is Kafka running there") {
		t.Errorf("%v\n%s", ok, out)
	}
	srv := kafkad.Start(t)
	out, ok := sinksOf(t, "kafka://"+srv.Broker+"/weir")
	for _, want := range []string{
		"  ok      kafka " + srv.Broker,
		"  failed  kafka topic weir ", "→ create it: kafka-topics.sh --create --topic weir\n",
		"  failed  kafka topic weir_log ",
	} {
		if ok || !strings.Contains(out, want) {
			t.Errorf("%v, want %q in\n%s", ok, want, out)
		}
	}
}
