package setup

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/domain"

	"github.com/weir-probe/weir/sink"
)

// planner2 plans for InfluxDB 2.x. The client's domain API makes the requests
// where it has them whole (its types of notification endpoints and rules have no
// fields); server.Do below it explains what is refused.
type planner2 struct {
	server
	o      Options
	places places
	*Plan
	api *domain.Client
	org string            // id of the organization
	ids map[string]string // of buckets by name, also of those that a step creates
}

func plan2(ctx context.Context, s server, o Options, plan *Plan) error {
	api, err := domain.NewClient(s.url, s.db)
	if err != nil {
		return err
	}
	p := &planner2{server: s, o: o, places: o.places(s.db).buckets(), Plan: plan, api: api, ids: map[string]string{}}
	if err := p.organization(ctx); err != nil {
		return err
	}
	if err := o.kept(); err != nil {
		return err
	}
	for _, f := range []func(context.Context) error{p.buckets, p.mappings, p.downsampling, p.alerts, p.tokens} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	if err := p.recompute(&o, p.places, time.Now(), p.addUp); err != nil {
		return err
	}
	return o.files(plan, p.places)
}

func (p *planner2) organization(ctx context.Context) error {
	name := p.o.Server.Org
	if name == "" {
		return &sink.ConfigError{Err: fmt.Errorf("%s needs an organization", p.Server), Remedy: "name it with --influxdb-org or INFLUX_ORG"}
	}
	unknown := &sink.ConfigError{Err: fmt.Errorf("organization %q is not there, or the token may not see it", name),
		Remedy: "name it with --influxdb-org or INFLUX_ORG (`influx org list` shows them); setup needs a token with all access"}
	orgs, err := p.api.GetOrgs(ctx, &domain.GetOrgsParams{Org: &name})
	switch {
	case status(err) == http.StatusNotFound:
		return unknown
	case status(err) == http.StatusUnauthorized && p.isNew(ctx):
		return &sink.ConfigError{Err: fmt.Errorf("%s has no user yet", p.Server),
			Remedy: fmt.Sprintf("make the first one with `influx setup`, or in a browser at %s: it is given the token that this needs", p.url)}
	case err != nil:
		return err
	case orgs.Orgs == nil || len(*orgs.Orgs) != 1 || (*orgs.Orgs)[0].Id == nil:
		return unknown
	}
	p.org = *(*orgs.Orgs)[0].Id
	p.Server += ", organization " + name
	return nil
}

// isNew says whether the server waits for its first user.
func (p *planner2) isNew(ctx context.Context) bool {
	var answer struct{ Allowed bool }
	return p.call(ctx, http.MethodGet, "api/v2/setup", nil, &answer) == nil && answer.Allowed
}

func (p *planner2) buckets(ctx context.Context) error {
	for i := range p.places {
		if !p.o.wanted(Place(i)) {
			continue
		}
		d := &p.places[i]
		list, err := p.api.GetBuckets(ctx, &domain.GetBucketsParams{OrgID: &p.org, Name: &d.name})
		if err != nil && status(err) != http.StatusNotFound {
			return err
		}
		if err != nil || list.Buckets == nil || len(*list.Buckets) == 0 {
			p.add(Step{Action: Create, Kind: "bucket", Name: d.name, Detail: d.holds + ", keeps " + days(d.keep),
				apply: func(ctx context.Context) error { return p.createBucket(ctx, d) }})
			continue
		}
		b := (*list.Buckets)[0]
		p.ids[d.name] = *b.Id
		var has time.Duration
		if len(b.RetentionRules) > 0 {
			has = time.Duration(b.RetentionRules[0].EverySeconds) * time.Second
		}
		p.add(d.retention("bucket", has, Step{apply: func(ctx context.Context) error {
			rules := domain.PatchRetentionRules{{EverySeconds: int64(d.keep / time.Second), Type: ptr(domain.PatchRetentionRuleTypeExpire)}}
			_, err := p.api.PatchBucketsID(ctx, &domain.PatchBucketsIDAllParams{BucketID: *b.Id,
				Body: domain.PatchBucketsIDJSONRequestBody{RetentionRules: &rules}})
			return err
		}}))
	}
	return nil
}

func (p *planner2) createBucket(ctx context.Context, d *place) error {
	rules := domain.RetentionRules{}
	if d.keep > 0 {
		rules = append(rules, domain.RetentionRule{EverySeconds: int64(d.keep / time.Second), Type: ptr(domain.RetentionRuleTypeExpire)})
	}
	b, err := p.api.PostBuckets(ctx, &domain.PostBucketsAllParams{Body: domain.PostBucketsJSONRequestBody{
		Name: d.name, OrgID: p.org, Description: ptr("Weir: " + d.holds + ". " + mark{Version, p.places[Raw].name, hash(d.name)}.String()),
		RetentionRules: &rules,
	}})
	if err == nil {
		p.ids[d.name] = *b.Id
	}
	return err
}

// mappings let InfluxQL read a bucket as the database of its name. Later 2.x
// answer without one; one that is there is the same on every 2.x and is listed.
func (p *planner2) mappings(ctx context.Context) error {
	list, err := p.api.GetDBRPs(ctx, &domain.GetDBRPsParams{OrgID: &p.org})
	if err != nil {
		return err
	}
	var there []domain.DBRP
	if list.Content != nil {
		there = *list.Content
	}
	for i := range p.places {
		if !p.o.wanted(Place(i)) {
			continue
		}
		d := &p.places[i]
		db, policy, named := strings.Cut(d.name, "/")
		if !named {
			policy = "autogen"
		}
		byDefault := !named || Place(i) == Raw
		step := Step{Action: Create, Kind: "mapping", Name: d.name, Detail: "InfluxQL reads the bucket as " + db + "/" + policy,
			apply: func(ctx context.Context) error {
				_, err := p.api.PostDBRP(ctx, &domain.PostDBRPAllParams{Body: domain.PostDBRPJSONRequestBody{
					OrgID: &p.org, BucketID: p.ids[d.name], Database: db, RetentionPolicy: policy, Default: &byDefault,
				}})
				return err
			}}
		at := slices.IndexFunc(there, func(m domain.DBRP) bool {
			return m.Database == db && (m.Virtual == nil || !*m.Virtual) && (m.RetentionPolicy == policy || byDefault && m.Default)
		})
		if at >= 0 {
			step.Action, step.apply = Keep, nil
			if there[at].BucketID != p.ids[d.name] {
				step.Action, step.Detail = Note, "InfluxQL reads another bucket under this name: "+there[at].BucketID+"; `influx v1 dbrp delete` makes room"
			}
		}
		p.add(step)
	}
	return nil
}

func (p *planner2) downsampling(ctx context.Context) error {
	if p.o.NoDownsampling {
		return nil
	}
	tasks, err := p.tasks(ctx)
	if err != nil {
		return err
	}
	var wanted []object
	for _, l := range levels(p.places) {
		for _, m := range downsampled {
			name := l.to.name + " " + m
			wanted = append(wanted, p.task(name, l.about(m), l.fluxTask(name, totalsOf(m, p.o.Histograms))))
		}
	}
	p.diff(p.places[Raw].name, wanted, tasks, func(ctx context.Context, id string) error {
		return p.api.DeleteTasksID(ctx, &domain.DeleteTasksIDAllParams{TaskID: id})
	})
	return nil
}

func (p *planner2) task(name, about, flux string) object {
	return object{
		kind: "task", name: name, about: about, definition: flux,
		create: func(ctx context.Context, description string) error {
			_, err := p.api.PostTasks(ctx, &domain.PostTasksAllParams{Body: domain.PostTasksJSONRequestBody{
				OrgID: &p.org, Flux: flux, Description: &description,
			}})
			return err
		},
		change: func(ctx context.Context, id, description string) error {
			_, err := p.api.PatchTasksID(ctx, &domain.PatchTasksIDAllParams{TaskID: id,
				Body: domain.PatchTasksIDJSONRequestBody{Flux: &flux, Description: &description}})
			return err
		},
	}
}

// tasks are all of the organization, page by page.
func (p *planner2) tasks(ctx context.Context) ([]present, error) {
	const page = 500
	var all []present
	params := domain.GetTasksParams{OrgID: &p.org, Limit: ptr(page)}
	for {
		list, err := p.api.GetTasks(ctx, &params)
		if err != nil {
			return nil, err
		}
		if list.Tasks == nil {
			return all, nil
		}
		for _, t := range *list.Tasks {
			all = append(all, present{t.Id, t.Name, orEmpty(t.Description)})
		}
		if len(*list.Tasks) < page {
			return all, nil
		}
		params.After = &all[len(all)-1].id
	}
}

// orEmpty is a string that may be missing.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func ptr[T any](v T) *T { return &v }
