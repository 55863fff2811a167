package influxdb

import (
	"fmt"
	"time"
)

// AddedUpAgain is how far back a server adds up rows to those per minute (weir setup
// influxdb): what comes later than that is not in them.
const AddedUpAgain = 10 * time.Minute

// Late says what to do about rows that come after an outage.
func (s *Sink) Late(after time.Duration) string {
	if after < AddedUpAgain {
		return ""
	}
	hours := after/time.Hour + 2
	return fmt.Sprintf("when no rows wait any more, run weir setup influxdb --recompute %dh: rows per minute and hour lack those that came late", hours)
}
