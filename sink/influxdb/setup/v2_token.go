package setup

import (
	"context"
	"slices"

	"github.com/influxdata/influxdb-client-go/v2/domain"
)

// tokenName is the description of the token that may only write.
func (p *planner2) tokenName() string {
	return "weir writes. " + mark{Version, p.places[Raw].name, hash("write " + p.places[Raw].name + " " + p.places[Log].name)}.String()
}

// token plans the token that a probe needs: it may write to the two buckets that
// rows go to, and nothing else. Permissions of a token cannot be changed, so one
// that lacks any is left to whom may still use it, and another is made.
func (p *planner2) token(ctx context.Context) error {
	if p.o.TokenFile == "" {
		return nil
	}
	list, err := p.api.GetAuthorizations(ctx, &domain.GetAuthorizationsParams{OrgID: &p.org})
	if err != nil {
		return err
	}
	targets := p.places[Raw].name + ", " + p.places[Log].name
	step := Step{Action: Create, Kind: "token", Name: "weir writes", Detail: "may write to " + targets + "; " + p.o.destination(), apply: p.createToken}
	kept := ""
	if p.o.TokenFile != "-" {
		kept = token(p.o.TokenFile)
	}
	var there []domain.Authorization
	if list.Authorizations != nil {
		there = *list.Authorizations
	}
	for _, a := range there {
		if orEmpty(a.Description) != p.tokenName() || !p.writes(a.Permissions) || (a.Status != nil && *a.Status == domain.AuthorizationUpdateRequestStatusInactive) {
			continue
		}
		value := orEmpty(a.Token)
		switch {
		case value == "": // this server does not tell it again
		case value == kept:
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
	for _, b := range []Place{Raw, Log} {
		id := p.ids[p.places[b].name]
		permissions = append(permissions, domain.Permission{Action: domain.PermissionActionWrite,
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

// writes says whether permissions reach both buckets as they are now.
func (p *planner2) writes(has *[]domain.Permission) bool {
	if has == nil {
		return false
	}
	for _, b := range []Place{Raw, Log} {
		if !slices.ContainsFunc(*has, func(x domain.Permission) bool {
			return x.Action == domain.PermissionActionWrite && orEmpty(x.Resource.Id) == p.ids[p.places[b].name] && orEmpty(x.Resource.Id) != ""
		}) {
			return false
		}
	}
	return true
}
