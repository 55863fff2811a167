package sink

import "context"

// Finding is one line of what a Checker found out; no secret is in it.
type Finding struct {
	Subject string // "server", a broker, or the bucket, database or topic
	Problem bool
	Detail  string
	Remedy  string // of a problem
	Away    bool   // of a problem: nobody answers, which may pass; rows wait
}

// Checker is a Sink that can say whether rows would arrive, without writing any.
type Checker interface {
	Sink
	Check(ctx context.Context) []Finding
}
