package influxdb

import (
	"fmt"
	"time"
)

// How often a server adds up rows to those per minute, and how far back (weir setup
// influxdb). What comes later than that is not in them, nor what came in the last minutes
// before a server went down for longer: it does not make up for the runs it missed.
const (
	AddedUpEvery = 5 * time.Minute
	AddedUpAgain = 10 * time.Minute
)

// Late says what to do about rows that come after an outage.
func (s *Sink) Late(after time.Duration) string {
	if after < AddedUpAgain-AddedUpEvery {
		return ""
	}
	hours := after/time.Hour + 2
	return fmt.Sprintf("when no rows wait any more, run weir setup influxdb --recompute %dh: rows per minute and hour lack some of that time", hours)
}
