package influxdb

import (
	"strings"
	"testing"
	"time"
)

// TestLate: what is added up again needs no advice, and the advice reaches back beyond
// the outage.
func TestLate(t *testing.T) {
	for away, want := range map[time.Duration]string{
		time.Minute: "", AddedUpAgain - AddedUpEvery - time.Second: "", AddedUpAgain - AddedUpEvery: "--recompute 2h:", 30 * time.Minute: "--recompute 2h:", 5*time.Hour + time.Minute: "--recompute 7h:",
	} {
		if got := (&Sink{}).Late(away); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", away, got, want)
		}
	}
}
