package setup

import (
	"context"
	"slices"
	"strings"

	"github.com/influxdata/influxdb-client-go/v2/domain"
)

// tokenName is the description of the token of a role.
func (p *planner2) tokenName() string {
	return p.o.role.name + ". " + mark{Version, p.places[Raw].name, hash(p.o.role.mark + " " + strings.Join(p.o.targets(p.places), " "))}.String()
}

// tokens plans those of both roles.
func (p *planner2) tokens(ctx context.Context) error {
	return p.o.each(ctx, func(ctx context.Context, as Options) error {
		one := *p // with the same plan
		one.o = as
		return one.token(ctx)
	})
}

// token plans the token of a role: a probe may write to the two buckets that rows go
// to, and nothing else, Grafana may read those and the downsampled ones. Permissions of a token cannot be changed, so one
// that lacks any is left to whom may still use it, and another is made.
func (p *planner2) token(ctx context.Context) error {
	if p.o.TokenFile == "" {
		return nil
	}
	list, err := p.api.GetAuthorizations(ctx, &domain.GetAuthorizationsParams{OrgID: &p.org})
	if err != nil {
		return err
	}
	step := Step{Action: Create, Kind: "token", Name: p.o.role.name, Detail: p.o.role.may + strings.Join(p.o.targets(p.places), ", ") + "; " + p.o.destination(), apply: p.createToken}
	kept := ""
	if p.o.TokenFile != "-" {
		kept = token(p.o.TokenFile)
	}
	var there []domain.Authorization
	if list.Authorizations != nil {
		there = *list.Authorizations
	}
	for _, a := range there {
		if orEmpty(a.Description) != p.tokenName() || !p.reaches(a.Permissions) || (a.Status != nil && *a.Status == domain.AuthorizationUpdateRequestStatusInactive) {
			continue
		}
		value := orEmpty(a.Token)
		if value == "" && kept != "" { // this server does not tell it again
			ok, err := p.valid(ctx, kept)
			if err != nil {
				return err
			}
			if ok {
				value = kept
			}
		}
		switch value {
		case "":
		case kept:
			step.Action, step.apply = Keep, nil
			step.Detail = "in " + p.o.TokenFile
		default:
			step.Detail = "is there: " + p.o.destination()
			step.apply = func(context.Context) error { return p.o.hand(value) }
		}
		if step.apply == nil {
			break
		}
	}
	if kept != "" && step.apply != nil {
		return p.o.occupied()
	}
	p.add(step)
	return nil
}

func (p *planner2) createToken(ctx context.Context) error {
	var permissions []domain.Permission
	for _, name := range p.o.targets(p.places) {
		id := p.ids[name]
		permissions = append(permissions, domain.Permission{Action: domain.PermissionAction(p.o.role.mark),
			Resource: domain.Resource{Type: domain.ResourceTypeBuckets, Id: &id, OrgID: &p.org}})
	}
	body := domain.PostAuthorizationsJSONRequestBody{OrgID: &p.org, Permissions: &permissions}
	body.Description = ptr(p.tokenName())
	a, err := p.api.PostAuthorizations(ctx, &domain.PostAuthorizationsAllParams{Body: body})
	if err != nil {
		return err
	}
	return p.o.hand(orEmpty(a.Token))
}

// reaches says whether permissions reach all buckets of the role as they are now.
func (p *planner2) reaches(has *[]domain.Permission) bool {
	if has == nil {
		return false
	}
	for _, name := range p.o.targets(p.places) {
		if !slices.ContainsFunc(*has, func(x domain.Permission) bool {
			return x.Action == domain.PermissionAction(p.o.role.mark) && orEmpty(x.Resource.Id) == p.ids[name] && orEmpty(x.Resource.Id) != ""
		}) {
			return false
		}
	}
	return true
}
