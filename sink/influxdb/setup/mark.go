package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
)

// Version of what setup makes. It goes up when an older Weir could not
// understand what a newer one made; a changed definition alone needs no new one.
const Version = 1

// mark is how an object says that it is ours, for which bucket, and of which
// definition.
type mark struct {
	version int
	bucket  string
	hash    string
}

func (m mark) String() string {
	return fmt.Sprintf("[weir setup v%d %s %s]", m.version, url.QueryEscape(m.bucket), m.hash)
}

var markText = regexp.MustCompile(`\[weir setup v(\d+) (\S+) ([0-9a-f]{8})\]$`)

// parseMark finds the mark at the end of a description.
func parseMark(description string) (mark, bool) {
	t := markText.FindStringSubmatch(description)
	if t == nil {
		return mark{}, false
	}
	version, err := strconv.Atoi(t[1])
	if err != nil {
		return mark{}, false
	}
	bucket, err := url.QueryUnescape(t[2])
	return mark{version, bucket, t[3]}, err == nil
}

func hash(definition string) string {
	sum := sha256.Sum256([]byte(definition))
	return hex.EncodeToString(sum[:4])
}

// object is something that is wanted on the server.
type object struct {
	kind, name, about string
	definition        string // all that makes it what it is
	create            func(ctx context.Context, description string) error
	change            func(ctx context.Context, id, description string) error
}

// present is something of the same kind that is there.
type present struct {
	id, name, description string
}

// diff adds the steps that make what is there what is wanted. It only looks at
// objects with the mark of this bucket; what is marked and not wanted any more
// (an older version made it) is removed.
func (p *Plan) diff(bucket string, wanted []object, there []present, remove func(ctx context.Context, id string) error) {
	ours := map[string][]present{}
	for _, o := range there {
		if m, ok := parseMark(o.description); ok && m.bucket == bucket {
			ours[o.name] = append(ours[o.name], o)
		}
	}
	for _, w := range wanted {
		m := mark{Version, bucket, hash(w.definition)}
		description := w.about + ". " + m.String()
		step := Step{Action: Create, Kind: w.kind, Name: w.name, Detail: w.about}
		found := ours[w.name]
		delete(ours, w.name)
		if len(found) == 0 {
			step.apply = func(ctx context.Context) error { return w.create(ctx, description) }
			p.add(step)
			continue
		}
		has, _ := parseMark(found[0].description)
		switch {
		case has.version > Version:
			step.Action, step.Detail = Note, fmt.Sprintf("made by a newer Weir (setup version %d, this one has %d): left alone", has.version, Version)
		case has == m:
			step.Action = Keep
		default:
			step.Action = Change
			step.apply = func(ctx context.Context) error { return w.change(ctx, found[0].id, description) }
		}
		p.add(step)
		for _, o := range found[1:] {
			p.removal(w.kind, o, "there twice", remove)
		}
	}
	if len(wanted) == 0 {
		return
	}
	for _, o := range there { // in the server's order
		m, _ := parseMark(o.description)
		if len(ours[o.name]) == 0 || ours[o.name][0].id != o.id {
			continue
		}
		ours[o.name] = ours[o.name][1:]
		if m.version > Version {
			p.note(wanted[0].kind, o.name, "made by a newer Weir: left alone")
			continue
		}
		p.removal(wanted[0].kind, o, "made by an older Weir, not needed any more", remove)
	}
}

func (p *Plan) removal(kind string, o present, why string, remove func(ctx context.Context, id string) error) {
	p.add(Step{Action: Remove, Kind: kind, Name: o.name, Detail: why,
		apply: func(ctx context.Context) error { return remove(ctx, o.id) }})
}
