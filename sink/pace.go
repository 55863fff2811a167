package sink

import "time"

// maxRest bounds the pause after a delivery.
const maxRest = time.Second

// pace says when a Deliverer with a backlog rests, for as long as its last delivery took:
// catching up takes twice as long then, and leaves half of the server, and of a processor
// here, to queries, to other hosts and to capture.
type pace struct {
	most uint64 // rows that waited
	sent uint64 // rows delivered since
}

// rests says whether to, after so many rows were delivered and while so many wait. Not
// while half of what is delivered, or more, is made up for by what comes: that would
// never end.
func (p *pace) rests(delivered int, waiting uint64) bool {
	p.sent += uint64(delivered)
	if waiting == 0 || waiting > p.most {
		p.most, p.sent = waiting, 0
		return false
	}
	return p.most-waiting > p.sent/2
}
