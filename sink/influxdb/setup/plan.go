package setup

import (
	"context"
	"fmt"
)

// Action is what a Step does.
type Action string

const (
	Create Action = "create"
	Change Action = "change"
	Remove Action = "remove"
	Keep   Action = "keep" // as it is: nothing to do
	Note   Action = "note" // not as wanted, and not ours to change: Detail says why
)

// Step is one object of the server and what is to become of it.
type Step struct {
	Action Action
	Kind   string // bucket, database, mapping, task, …
	Name   string
	Detail string // what it is or becomes

	apply func(context.Context) error // nil: nothing to do
}

// Plan is the difference between what is wanted and what there is.
type Plan struct {
	Server string // which one, for people
	Steps  []Step // in the order in which they have to be done
}

// Changes is how many steps change something.
func (p *Plan) Changes() int {
	n := 0
	for _, s := range p.Steps {
		if s.apply != nil {
			n++
		}
	}
	return n
}

// Count is how many steps have the action.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, s := range p.Steps {
		if s.Action == a {
			n++
		}
	}
	return n
}

// Apply does the steps in their order and calls done after each that changed
// something. It ends at the first that fails: run it again after the remedy.
func (p *Plan) Apply(ctx context.Context, done func(Step)) error {
	for _, s := range p.Steps {
		if s.apply == nil {
			continue
		}
		if err := s.apply(ctx); err != nil {
			return fmt.Errorf("%s %s %q: %w", s.Action, s.Kind, s.Name, err)
		}
		done(s)
	}
	return nil
}

func (p *Plan) add(s Step) { p.Steps = append(p.Steps, s) }

func (p *Plan) note(kind, name, format string, args ...any) {
	p.add(Step{Action: Note, Kind: kind, Name: name, Detail: fmt.Sprintf(format, args...)})
}
