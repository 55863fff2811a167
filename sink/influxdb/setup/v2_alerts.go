package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// alertKind is a kind of object that 2.x's alerts are made of, under
// /api/v2/path; they are all listed, made and changed in the same way.
type alertKind struct {
	kind, path, list string // list is the key of the array in the answer
}

var (
	checks    = alertKind{"check", "checks", "checks"}
	endpoints = alertKind{"notification endpoint", "notificationEndpoints", "notificationEndpoints"}
	rules     = alertKind{"notification rule", "notificationRules", "notificationRules"}
)

// Tags that a status of ours has: what rules go by.
const (
	tagBucket = "weir"
	tagPace   = "every"
)

func (p *planner2) alerts(ctx context.Context) error {
	if p.o.NoAlerts {
		return nil
	}
	var wanted []object
	for _, body := range p.checks() {
		wanted = append(wanted, p.object(checks, body))
	}
	if err := p.alertObjects(ctx, checks, wanted); err != nil {
		return err
	}
	if p.o.NotifyURL == "" {
		p.note("notification", "", "nobody is told: --notify-url URL makes an endpoint and a rule")
		return nil
	}
	if err := p.alertObjects(ctx, endpoints, []object{p.object(endpoints, p.endpoint())}); err != nil {
		return err
	}
	return p.alertObjects(ctx, rules, []object{p.rule(often), p.rule(seldom)})
}

func (p *planner2) alertObjects(ctx context.Context, k alertKind, wanted []object) error {
	there, err := p.list(ctx, k)
	if err != nil {
		return err
	}
	p.diff(p.places[Raw].name, wanted, there, func(ctx context.Context, id string) error {
		return p.call(ctx, "DELETE", "api/v2/"+k.path+"/"+id, nil, nil)
	})
	return nil
}

// list reads all of a kind, page by page.
func (p *planner2) list(ctx context.Context, k alertKind) ([]present, error) {
	const page = 100
	var all []present
	for {
		var answer map[string]json.RawMessage
		q := url.Values{"orgID": {p.org}, "limit": {fmt.Sprint(page)}, "offset": {fmt.Sprint(len(all))}}
		if err := p.call(ctx, "GET", "api/v2/"+k.path+"?"+q.Encode(), nil, &answer); err != nil {
			return nil, err
		}
		var list []struct{ ID, Name, Description string }
		if err := json.Unmarshal(answer[k.list], &list); err != nil {
			return nil, fmt.Errorf("understand the list of %s: %w", k.path, err)
		}
		for _, o := range list {
			all = append(all, present{o.ID, o.Name, o.Description})
		}
		if len(list) < page {
			return all, nil
		}
	}
}

// body of a request, as it is sent but for the description.
type body map[string]any

func (b body) with(key string, value any) body {
	c := body{key: value}
	for k, v := range b {
		c[k] = v
	}
	return c
}

const about = "about" // of a body: what the description says; not sent

// object is one that needs nothing that is only known when it is made.
func (p *planner2) object(k alertKind, b body) object {
	return p.objectFrom(k, b, func(context.Context) (body, error) { return b, nil })
}

// objectFrom makes an object whose definition is b, and which is sent as send says.
func (p *planner2) objectFrom(k alertKind, b body, send func(context.Context) (body, error)) object {
	definition, _ := json.Marshal(b) // keys are sorted
	put := func(ctx context.Context, method, path, description string) error {
		all, err := send(ctx)
		if err != nil {
			return err
		}
		all = all.with("orgID", p.org).with("description", description)
		delete(all, about)
		return p.call(ctx, method, "api/v2/"+path, all, nil)
	}
	return object{
		kind: k.kind, name: b["name"].(string), about: b[about].(string), definition: string(definition),
		create: func(ctx context.Context, description string) error { return put(ctx, "POST", k.path, description) },
		change: func(ctx context.Context, id, description string) error {
			return put(ctx, "PUT", k.path+"/"+id, description)
		},
	}
}

// name of an object in the organization, where names of checks are unique.
func (p *planner2) name(name string) string { return p.places[Raw].name + ": " + name }

func (p *planner2) checks() []body {
	tags := func(every time.Duration) []body {
		return []body{{"key": tagBucket, "value": p.places[Raw].name}, {"key": tagPace, "value": minutes(every)}}
	}
	bucket := p.places[Raw].name
	list := []body{{
		"type": "deadman", "name": p.name(silence.name), about: silence.meaning, "status": "active", "tags": tags(often),
		"every": minutes(often), "offset": "15s", "timeSince": minutes(silence.after), "staleTime": minutes(silence.forget),
		"level": "CRIT", "reportZero": false, "query": body{"text": silenceQuery(bucket), "editMode": "advanced"},
		"statusMessageTemplate": "${r._level}: " + silence.meaning + ": host ${r.host} (${r._check_name})",
	}}
	for _, a := range alerts() {
		kind := "greater"
		if a.below {
			kind = "lesser"
		}
		var thresholds []body
		for level, value := range map[string]float64{"WARN": a.warn, "CRIT": a.crit} {
			if value != 0 {
				thresholds = append(thresholds, body{"type": kind, "level": level, "value": value, "allValues": false})
			}
		}
		if len(thresholds) == 2 && thresholds[0]["level"] != "CRIT" { // maps have no order, definitions do
			thresholds[0], thresholds[1] = thresholds[1], thresholds[0]
		}
		list = append(list, body{
			"type": "threshold", "name": p.name(a.name), about: a.meaning, "status": "active", "tags": tags(a.every),
			"every": minutes(a.every), "offset": "15s", "thresholds": thresholds,
			"query":                 body{"text": a.check(bucket), "editMode": "advanced"},
			"statusMessageTemplate": a.message(),
		})
	}
	return list
}

// endpoint is whom to tell. Its URL may hold a secret: no step prints it.
func (p *planner2) endpoint() body {
	return body{
		"type": "http", "name": p.name("notify"), about: "where levels of Weir's checks are posted to", "status": "active",
		"url": string(p.o.NotifyURL), "method": "POST", "authMethod": "none",
	}
}

// rule tells every change of level of the checks with our tags that run every so
// often. The server lets it look back twice its every, if that is in seconds (of
// another unit one more), so it sees the level before only of checks that run as
// often as it does: each pace has its rule.
func (p *planner2) rule(every time.Duration) object {
	var changes []body
	for _, to := range []string{"CRIT", "WARN", "OK"} {
		for _, from := range []string{"OK", "WARN", "CRIT"} {
			if from != to {
				changes = append(changes, body{"currentLevel": to, "previousLevel": from})
			}
		}
	}
	b := body{
		"type": "http", "name": p.name("notify on change, every " + minutes(every)), about: "tells changes of level", "status": "active",
		"every": fmt.Sprintf("%ds", every/time.Second), "offset": "30s", "statusRules": changes,
		"tagRules": []body{
			{"key": tagBucket, "value": p.places[Raw].name, "operator": "equal"},
			{"key": tagPace, "value": minutes(every), "operator": "equal"},
		},
	}
	return p.objectFrom(rules, b, func(ctx context.Context) (body, error) {
		there, err := p.list(ctx, endpoints)
		for _, o := range there {
			if o.name == p.name("notify") {
				return b.with("endpointID", o.id), nil
			}
		}
		return nil, errors.Join(errors.New("its endpoint is not there"), err)
	})
}
