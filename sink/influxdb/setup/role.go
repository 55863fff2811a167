package setup

import "context"

// role is one that is given a token, or a user of 1.x, of its own, and what that may
// do.
type role struct {
	name   string // of the token
	right  string // of 1.x
	may    string
	mark   string // what its definition begins with
	flag   string // that names its file
	user   string // the flag that names its user
	places []Place
}

var (
	writer = role{"weir writes", "WRITE", "may write to ", "write", "--write-token-file", "--write-user", []Place{Raw, Log}}
	reader = role{"weir reads", "READ", "may read ", "read", "--read-token-file", "--read-user", []Place{Raw, Log, Minute, Hour}}
)

// as are the options with which a role is planned.
func (o Options) as(r role) Options {
	if r.right == reader.right {
		o.TokenFile, o.User = o.ReadTokenFile, o.ReadUser
	}
	o.role = r
	return o
}

// targets are the places that the role is for and that are wanted.
func (o *Options) targets(all places) (names []string) {
	for _, p := range o.role.places {
		if o.wanted(p) {
			names = append(names, all[p].name)
		}
	}
	return names
}

// each plans both roles.
func (o *Options) each(ctx context.Context, plan func(context.Context, Options) error) error {
	for _, r := range []role{writer, reader} {
		if err := plan(ctx, o.as(r)); err != nil {
			return err
		}
	}
	return nil
}

// kept says why what a role is given could not be kept, before it is made.
func (o *Options) kept() error {
	return o.each(context.Background(), func(_ context.Context, as Options) error { return as.writable() })
}
