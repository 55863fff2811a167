package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/weir-probe/weir/sink/influxdb/rules"
)

// alertKind is a kind of object that 2.x's alerts are made of, under
// /api/v2/path; they are all listed, made and changed in the same way.
type alertKind struct {
	kind, path, list string // list is the key of the array in the answer
}

var (
	checks        = alertKind{"check", "checks", "checks"}
	endpoints     = alertKind{"notification endpoint", "notificationEndpoints", "notificationEndpoints"}
	notifications = alertKind{"notification rule", "notificationRules", "notificationRules"}
)

// tagBucket is the tag that a status of ours has: what the notification rule goes by.
const tagBucket = "weir"

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
	if p.o.NotifyURL != "" {
		if err := p.alertObjects(ctx, endpoints, []object{p.object(endpoints, p.endpoint())}); err != nil {
			return err
		}
		return p.alertObjects(ctx, notifications, []object{p.rule()})
	}
	there, err := p.list(ctx, endpoints)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(there, p.ourEndpoint) {
		p.note("notification", "", "nobody is told: --notify-url URL makes an endpoint and a rule")
		return nil
	}
	p.add(Step{Action: Keep, Kind: endpoints.kind, Name: p.name("notify"), Detail: "posts to the URL of the run before; --notify-url names another"})
	return p.alertObjects(ctx, notifications, []object{p.rule()})
}

// ourEndpoint says whether an endpoint is the one that a run made.
func (p *planner2) ourEndpoint(o present) bool {
	m, ours := parseMark(o.description)
	return ours && m.bucket == p.places[Raw].name && o.name == p.name("notify")
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
	bucket, silent := p.places[Raw].name, rules.Silent()
	tags := []body{{"key": tagBucket, "value": bucket}}
	list := []body{{
		"type": "deadman", "name": p.name(silent.Name), about: silent.Meaning, "status": "active", "tags": tags,
		"every": minutes(rules.Every), "offset": statusOffset, "timeSince": minutes(silent.After), "staleTime": minutes(silent.Forget),
		"level": "CRIT", "reportZero": false, "query": body{"text": silenceQuery(silent, bucket), "editMode": "advanced"},
		"statusMessageTemplate": "${r._level}: " + silent.Meaning + ": host ${r.host} (${r._check_name})",
	}}
	for _, r := range rules.All() {
		list = append(list, body{
			"type": "custom", "name": p.name(r.Name), about: r.Meaning, "status": "active",
			"query": body{"text": fluxCheck(&r, bucket, p.name(r.Name), tags), "editMode": "advanced"},
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

// rule tells every change of level of the checks with our tag. The server lets it look
// back twice its every, if that is in seconds (of another unit one more): to the level
// before, of checks that run as often as it does.
func (p *planner2) rule() object {
	var changes []body
	for _, to := range []string{"CRIT", "WARN", "OK"} {
		for _, from := range []string{"OK", "WARN", "CRIT"} {
			if from != to {
				changes = append(changes, body{"currentLevel": to, "previousLevel": from})
			}
		}
	}
	b := body{
		"type": "http", "name": p.name("notify on change"), about: "tells changes of level", "status": "active",
		"every": fmt.Sprintf("%ds", rules.Every/time.Second), "offset": "30s", "statusRules": changes,
		"tagRules": []body{
			{"key": tagBucket, "value": p.places[Raw].name, "operator": "equal"},
		},
	}
	return p.objectFrom(notifications, b, func(ctx context.Context) (body, error) {
		there, err := p.list(ctx, endpoints)
		for _, o := range there {
			if o.name == p.name("notify") {
				return b.with("endpointID", o.id), nil
			}
		}
		return nil, errors.Join(errors.New("its endpoint is not there"), err)
	})
}
