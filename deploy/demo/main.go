// Command demo is a small shop for the profile `demo` of docker-compose.yml: a load
// generator, a web server, an API and a cache, with incidents at fixed times.
//
// Every five minutes, for one minute (DEMO_EVERY, DEMO_FOR), the cache hangs up and
// listens to nobody, so that the API answers 500; and the worker takes more memory than
// its limit, and all CPU that its quota gives.
//
// Eight minutes after the web server started, and every hour after that (DEMO_BREAK_IN,
// DEMO_BREAK_IN_EVERY), somebody is in it who tries ports of the cache's host and reads the
// cache, which only the API does otherwise.
//
//	demo load URL        asks URL 20 times a second
//	demo web API CACHE   HTTP on :8080, asks API, and is broken into
//	demo api CACHE       HTTP on :8081, asks CACHE (Redis)
//	demo cache           Redis on :6379
//	demo worker          works a little, and too much during the incident
//	demo pager           HTTP on :8480: prints the alerts that the probe tells it
//	demo health URL|ADDR exit status 0 if it answers
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// incident says when things go wrong: by the clock, so that the services agree.
type incident struct{ every, lasts time.Duration }

// scripted is what the environment asks for: by default an incident begins where the
// minutes of the hour can be divided by five.
func scripted(getenv func(string) string) (i incident, b breakIn, err error) {
	i, b = incident{5 * time.Minute, time.Minute}, breakIn{8 * time.Minute, time.Hour}
	for name, d := range map[string]*time.Duration{
		"DEMO_EVERY": &i.every, "DEMO_FOR": &i.lasts, "DEMO_BREAK_IN": &b.after, "DEMO_BREAK_IN_EVERY": &b.every,
	} {
		if v := getenv(name); v != "" {
			if *d, err = time.ParseDuration(v); err != nil {
				return i, b, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if i.lasts <= 0 || i.lasts >= i.every {
		return i, b, errors.New("DEMO_FOR must be above 0 and below DEMO_EVERY")
	}
	if b.after <= 0 || b.every <= 0 {
		return i, b, errors.New("DEMO_BREAK_IN and DEMO_BREAK_IN_EVERY must be above 0")
	}
	return i, b, nil
}

func (i incident) at(t time.Time) bool { return t.Sub(t.Truncate(i.every)) < i.lasts }

// next is when the state at t changes.
func (i incident) next(t time.Time) time.Time {
	begin := t.Truncate(i.every)
	if i.at(t) {
		return begin.Add(i.lasts)
	}
	return begin.Add(i.every)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	role, target, other := "", "", ""
	for i, v := range []*string{&role, &target, &other} {
		if len(args) > i {
			*v = args[i]
		}
	}
	script, stranger, err := scripted(os.Getenv)
	if err != nil {
		return err
	}
	switch role {
	case "load":
		return load(ctx, target, 50*time.Millisecond)
	case "web":
		go stranger.run(ctx, func(ctx context.Context) {
			if err := lookAround(ctx, other); err != nil {
				fmt.Fprintln(os.Stderr, "demo: the break-in:", err)
			}
		})
		return serve(ctx, ":8080", web(target))
	case "api":
		return serve(ctx, ":8081", api(target))
	case "cache":
		return cache(ctx, ":6379", script)
	case "worker":
		return work(ctx, script)
	case "pager":
		return serve(ctx, ":8480", pager(os.Stdout))
	case "health":
		return health(ctx, target)
	}
	return errors.New("usage: demo load|web|api|cache|worker|pager|health [TARGET [CACHE]]")
}
