package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// planner1 plans for InfluxDB 1.x, where everything is a statement of InfluxQL.
type planner1 struct {
	server
	o      Options
	places places
	*Plan
}

func (p *planner1) plan(ctx context.Context) error {
	databases, err := p.query(ctx, "SHOW DATABASES")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, d := range databases {
		there[d.value("name")] = true
	}
	for i := range p.places {
		if !p.o.wanted(Place(i)) {
			continue
		}
		if err := p.database(ctx, &p.places[i], there[p.places[i].name]); err != nil {
			return err
		}
	}
	if !p.o.NoDownsampling {
		if err := p.downsampling(ctx); err != nil {
			return err
		}
	}
	if err := p.recompute(&p.o, p.places, time.Now(), p.addUp); err != nil {
		return err
	}
	if p.o.NotifyURL != "" {
		p.note("notification", "", "InfluxDB 1.x has no checks: Kapacitor has (--kapacitor-dir writes its scripts; its handlers of the topic weir tell whom)")
	}
	if err := p.o.kept(); err != nil {
		return err
	}
	if err := p.users(ctx); err != nil {
		return err
	}
	return p.o.files(p.Plan, p.places)
}

// database plans a database, or a retention policy of one.
func (p *planner1) database(ctx context.Context, d *place, there bool) error {
	name := d.policy
	if name == "" {
		name = "autogen"
	}
	if !there {
		p.add(Step{Action: Create, Kind: "database", Name: d.name, Detail: d.holds + ", keeps " + days(d.keep),
			apply: p.statement("CREATE DATABASE %s WITH DURATION %s REPLICATION 1 NAME %s", ident(d.name), duration(d.keep), ident(name))})
		return nil
	}
	policies, err := p.query(ctx, "SHOW RETENTION POLICIES ON "+ident(d.name))
	if err != nil {
		return err
	}
	for _, rp := range policies {
		if d.policy != rp.value("name") && (d.policy != "" || rp.value("default") != "true") {
			continue
		}
		has, err := time.ParseDuration(rp.value("duration"))
		if err != nil {
			return fmt.Errorf("retention policy %s of %s: %w", rp.value("name"), d.name, err)
		}
		// SHARD DURATION 0s lets the server choose one that fits.
		p.add(d.retention("database", has, Step{apply: p.statement("ALTER RETENTION POLICY %s ON %s DURATION %s SHARD DURATION 0s",
			ident(rp.value("name")), ident(d.name), duration(d.keep))}))
		return nil
	}
	if d.policy == "" {
		p.note("database", d.name, "has no default retention policy: CREATE RETENTION POLICY … ON %s … DEFAULT", ident(d.name))
		return nil
	}
	p.add(Step{Action: Create, Kind: "policy", Name: d.name + "/" + d.policy, Detail: d.holds + ", keeps " + days(d.keep),
		apply: p.statement("CREATE RETENTION POLICY %s ON %s DURATION %s REPLICATION 1", ident(d.policy), ident(d.name), duration(d.keep))})
	return nil
}

func duration(d time.Duration) string {
	if d == 0 {
		return "INF"
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// downsampling plans continuous queries. Their names are all that 1.x lets us
// write a mark into; there is no change but dropping and creating.
func (p *planner1) downsampling(ctx context.Context) error {
	rows, err := p.query(ctx, "SHOW CONTINUOUS QUERIES")
	if err != nil {
		return err
	}
	for _, l := range levels(p.places) {
		var there []present
		for _, r := range rows {
			if r.series != l.from.name {
				continue
			}
			full := r.value("name")
			name, _, _ := strings.Cut(full, " [")
			there = append(there, present{full, name, full})
		}
		var wanted []object
		for _, m := range downsampled {
			queries := l.continuous(totalsOf(m, p.o.Histograms))
			for _, what := range slices.Sorted(maps.Keys(queries)) {
				wanted = append(wanted, p.continuous(l, what, queries[what]))
			}
		}
		p.diff(p.places[Raw].name, wanted, there, p.drop(l.from.name))
	}
	return nil
}

func (p *planner1) drop(db string) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		return p.statement("DROP CONTINUOUS QUERY %s ON %s", ident(name), ident(db))(ctx)
	}
}

func (p *planner1) continuous(l level, what, query string) object {
	name := l.to.name + " " + what
	create := func(ctx context.Context, description string) error {
		m, _ := parseMark(description)
		return p.statement("%s", l.createContinuous(name+" "+m.String(), query))(ctx)
	}
	return object{
		kind: "continuous query", name: name, about: l.about(what), definition: l.createContinuous(name, query), create: create,
		change: func(ctx context.Context, old, description string) error {
			if err := p.drop(l.from.name)(ctx, old); err != nil {
				return err
			}
			return create(ctx, description)
		},
	}
}

// users plans those of both roles.
func (p *planner1) users(ctx context.Context) error {
	return p.o.each(ctx, func(ctx context.Context, as Options) error {
		one := *p // with the same plan
		one.o = as
		return one.user(ctx)
	})
}

// user plans a user that may do with its databases what its role does, and nothing else.
func (p *planner1) user(ctx context.Context) error {
	if p.o.TokenFile == "" {
		return nil
	}
	open, err := p.open(ctx)
	if err != nil {
		return err
	}
	if open {
		p.note("user", p.o.User, "not made: this server asks nobody for a password ([http] auth-enabled in its configuration)")
		return nil
	}
	users, err := p.query(ctx, "SHOW USERS")
	if err != nil {
		return err
	}
	targets := p.o.targets(p.places)
	if p.o.TokenFile != "-" && token(p.o.TokenFile) != "" && !holds(p.o.TokenFile, p.o.User+":") {
		return p.o.occupied()
	}
	if !slices.ContainsFunc(users, func(r row) bool { return r.value("user") == p.o.User }) {
		p.add(Step{Action: Create, Kind: "user", Name: p.o.User, Detail: p.o.role.may + strings.Join(targets, ", ") + "; " + p.o.destination(),
			apply: func(ctx context.Context) error { return p.createUser(ctx, targets) }})
		return nil
	}
	if p.o.TokenFile == "-" || !holds(p.o.TokenFile, p.o.User+":") {
		p.note("user", p.o.User, "is there, and its password cannot be read: give the file that has it, another %s, or DROP USER %s", p.o.role.user, ident(p.o.User))
		return nil
	}
	if err := p.known(ctx, token(p.o.TokenFile)); err != nil {
		return err
	}
	grants, err := p.query(ctx, "SHOW GRANTS FOR "+ident(p.o.User))
	if err != nil {
		return err
	}
	for _, db := range targets {
		step := Step{Action: Keep, Kind: "user", Name: p.o.User, Detail: p.o.role.may + db}
		if !slices.ContainsFunc(grants, func(r row) bool {
			return r.value("database") == db && (r.value("privilege") == p.o.role.right || r.value("privilege") == "ALL PRIVILEGES")
		}) {
			step.Action = Change
			step.apply = p.statement("GRANT "+p.o.role.right+" ON %s TO %s", ident(db), ident(p.o.User))
		}
		p.add(step)
	}
	return nil
}

// createUser keeps the password before the server has it: a run that ends in between is
// done again, and a password that nobody kept could not be had from the server.
func (p *planner1) createUser(ctx context.Context, targets []string) error {
	password := random()
	if err := p.o.hand(p.o.User + ":" + password); err != nil {
		return err
	}
	if err := p.statement("CREATE USER %s WITH PASSWORD %s", ident(p.o.User), text(password))(ctx); err != nil {
		return err
	}
	for _, db := range targets {
		if err := p.statement("GRANT "+p.o.role.right+" ON %s TO %s", ident(db), ident(p.o.User))(ctx); err != nil {
			return err
		}
	}
	return nil
}

// open says whether the server lets everybody do everything.
func (p *planner1) open(ctx context.Context) (bool, error) {
	stranger, err := p.as(&p.o, "")
	if err != nil {
		return false, err
	}
	_, err = (&planner1{server: *stranger}).query(ctx, "SHOW DATABASES")
	if status(err) == http.StatusUnauthorized {
		return false, nil
	}
	return err == nil, err
}

// row of an answer to InfluxQL.
type row struct {
	series string
	values map[string]any
}

func (r row) value(column string) string { return fmt.Sprint(r.values[column]) }

func (p *planner1) statement(format string, args ...any) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := p.query(ctx, fmt.Sprintf(format, args...))
		return err
	}
}

// query asks; its errors never repeat the statement, which may hold a password.
func (p *planner1) query(ctx context.Context, q string) ([]row, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"query", strings.NewReader(url.Values{"q": {q}}.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.db.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct {
			Error  string
			Series []struct {
				Name    string
				Columns []string
				Values  [][]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("understand the answer to a query: %w", err)
	}
	var rows []row
	for _, r := range answer.Results {
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		for _, s := range r.Series {
			for _, v := range s.Values {
				values := map[string]any{}
				for i, c := range s.Columns {
					values[c] = v[i]
				}
				rows = append(rows, row{s.Name, values})
			}
		}
	}
	return rows, nil
}
