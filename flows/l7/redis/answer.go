package redis

import (
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// pushes are the first elements of what the server sends unasked, and the
// operations they are told as. What confirms a subscription is told with the
// request.
var pushes = map[string]string{
	"message": "push message", "pmessage": "push pmessage", "smessage": "push smessage",
	"invalidate": "push invalidate", "tracking-redir-broken": "push tracking-redir-broken",
	"subscribe": confirmation, "psubscribe": confirmation, "ssubscribe": confirmation,
	"unsubscribe": confirmation, "punsubscribe": confirmation, "sunsubscribe": confirmation,
	"pong": pong,
}

const (
	confirmation = "confirmation"
	pong         = "pong"
)

// fromServer takes what reading an answer or a push has come to.
func (p *parser) fromServer(r *reader, ev event, n int, t int64) {
	if !p.answering {
		p.answering = true
		p.answer = open.Answer{First: t}
		p.first, p.firstErr, p.last = "", "", 0
	}
	p.answer.Octets += uint64(n)
	p.answer.Last = t
	switch ev {
	case more:
		return
	case broken:
		p.answering = false
		p.lose(l7.ToClient, t)
		return
	}
	if r.top == '|' {
		return // an attribute before the answer
	}
	if r.depth == 1 {
		p.part(r)
	}
	if ev == whole {
		p.value(r)
		p.answering = false
	}
}

// part takes an element of an array.
func (p *parser) part(r *reader) {
	switch r.typ {
	case '-', '!':
		if p.firstErr == "" {
			p.firstErr = errorWord(r)
		}
	case ':':
		p.last, _ = number(r.text)
	case '$', '+':
		if r.index == 0 && !r.short {
			p.first = pushes[string(r.text)]
		}
	}
}

// value takes the value that has been read: an answer, unless it is a push.
func (p *parser) value(r *reader) {
	q := p.open.Front()
	var asked kind
	if q != nil {
		asked = kind(q.Kind)
	}
	isPush := r.top == '>'
	if r.top == '*' && p.first != "" {
		// RESP2 has no type for pushes. While subscribed there is nothing else; and
		// where nothing is open it cannot be an answer.
		isPush = p.subscribed || q == nil || asked == subscribe && p.first == confirmation
	}
	switch {
	case isPush:
		p.unasked(q, asked, r)
		return
	case r.top == '+' && (p.monitoring || q == nil) && len(r.text) > 0 && '0' <= r.text[0] && r.text[0] <= '9':
		p.tell.Tell(&open.Request{Operation: "push monitor", Streaming: true}, l7.OneWay, p.answer)
		return
	}
	switch {
	case r.top == '-' || r.top == '!':
		p.fail(errorWord(r))
	case asked == exec && p.firstErr != "":
		p.fail(p.firstErr)
	case r.null:
		p.answer.Status = "nil"
	case r.top == '+' && string(r.text) == "QUEUED":
		p.answer.Status = "QUEUED"
	default:
		p.answer.Status = "OK"
	}
	p.answered()
}

func (p *parser) fail(status string) {
	p.answer.Status, p.answer.Failed = status, failed(status)
}

// unasked takes a push: a message to tell, or the confirmation of a subscription,
// which answers the request with its first and is counted no further.
func (p *parser) unasked(q *open.Request, asked kind, r *reader) {
	operation := p.first
	switch {
	case operation == confirmation:
		if r.top == '*' {
			p.subscribed = p.last > 0
		}
		if q != nil && asked == subscribe {
			p.answer.Status = "OK"
			p.answered()
		}
		return
	case operation == pong && q != nil && asked == ping:
		p.answer.Status = "OK"
		p.answered()
		return
	case operation == "" || operation == pong:
		operation = "push other"
	case r.top == '*':
		p.subscribed = true // seen in the middle of it
	}
	p.tell.Tell(&open.Request{Operation: operation, Streaming: true}, l7.OneWay, p.answer)
}

// answered tells the oldest open request with its answer. An answer to nothing
// that is open belongs to a request that was not seen.
func (p *parser) answered() {
	q := p.open.Front()
	if q == nil {
		if !p.open.Passed() {
			p.place.Surprise()
			p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, p.answer)
		}
		return
	}
	asked := kind(q.Kind)
	q.Unknown = q.Unknown || p.place.Doubt()
	p.tell.Tell(q, l7.Answered, p.answer)
	p.open.Remove(0)
	if p.answer.Failed {
		return
	}
	switch asked {
	case monitor:
		p.monitoring = true
	case reset:
		p.monitoring, p.subscribed = false, false
	case replicate:
		p.replica = true
		p.forget()
	}
}

// errorWord returns the first word of the error that ended, one of statuses or
// ERROR.
func errorWord(r *reader) string {
	word := r.text
	for i, c := range word {
		if c == ' ' {
			word = word[:i]
			break
		}
	}
	if s, ok := statuses[string(word)]; ok && !r.short {
		return s
	}
	return "ERROR"
}
