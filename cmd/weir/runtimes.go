package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/correlate/enrich/container/runtimes"
)

// runtimes is the configuration of the container engines.
func (c *Config) runtimes(log *slog.Logger) runtimes.Config {
	return runtimes.Config{Sockets: c.Runtimes, Docker: c.Docker, Logger: log}
}

// runtimeStatus is what the API says of a container runtime.
type runtimeStatus struct {
	Name      string `json:"name"` // docker, podman or cri
	User      string `json:"user,omitempty"`
	Socket    string `json:"socket"`
	State     string `json:"state"` // connected, absent, failing or waiting
	Connected bool   `json:"connected"`
	Version   string `json:"version,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (w *identities) status() any {
	out := []runtimeStatus{}
	for _, r := range w.runtimes.Status() {
		out = append(out, runtimeStatus{r.Kind, r.User, r.Socket, runtimeState(&r), r.Connected, r.Version, r.Error})
	}
	return out
}

func runtimeState(r *runtimes.Runtime) string {
	switch {
	case r.Connected:
		return "connected"
	case r.Absent:
		return "absent"
	case r.Error != "":
		return "failing"
	}
	return "waiting" // for its first answer
}

// examineRuntimes asks the runtimes whether they answer, all at once.
func examineRuntimes(ctx context.Context, cfg *Config) []check {
	const area = "containers"
	set, err := runtimes.New(cfg.runtimes(nil))
	if err != nil {
		return []check{{Area: area, Name: "runtimes", State: bad, Detail: err.Error()}}
	}
	for _, dir := range userDirs() {
		set.Of(dir)
	}
	ask, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); _ = set.Run(ask) }()
	defer func() { cancel(); <-done }()
	for waiting(set) && ask.Err() == nil {
		select {
		case <-ask.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return runtimeChecks(set.Status())
}

// userDirs are the numbers of the users that have a directory for sockets.
func userDirs() (users []string) {
	dirs, _ := filepath.Glob("/run/user/[0-9]*")
	for _, d := range dirs {
		users = append(users, filepath.Base(d))
	}
	return users
}

func waiting(set *runtimes.Set) bool {
	for _, r := range set.Status() {
		if runtimeState(&r) == "waiting" {
			return true
		}
	}
	return false
}

// runtimeChecks says how it stands with each runtime. One that is absent is only
// a loss where there is no other.
func runtimeChecks(all []runtimes.Runtime) []check {
	var out []check
	found := 0
	for _, r := range all {
		c := check{Area: "containers", Name: r.Kind + " " + r.Socket}
		switch runtimeState(&r) {
		case "connected":
			found++
			c.State, c.Detail = good, r.Version
		case "absent":
			if r.User != "" {
				continue
			}
			c.State, c.Detail = plain, "not here: "+oneLine(r.Error)
			if r.Presence == engine.Expected {
				c.State, c.Remedy = limited, "its containers will have an id but no name; mount its socket, or name another with --docker or --runtime"
			}
		default:
			c.State, c.Detail = limited, oneLine(cmp.Or(r.Error, "it accepts connections and does not answer"))
			c.Remedy = "its containers will have an id but no name; restart it, or take it out with runtimes: in the configuration"
		}
		out = append(out, c)
	}
	if found == 0 {
		out = append(out, check{Area: "containers", Name: "runtimes", State: limited,
			Detail: fmt.Sprintf("none of %d sockets answers", len(all)),
			Remedy: "containers will have an id but no name; mount a runtime's socket, or name another with --docker or --runtime cri:PATH"})
	}
	return out
}

// appendRuntime takes the value of --runtime.
func appendRuntime(c *Config, v string) error {
	c.Runtimes = append(c.Runtimes, strings.TrimSpace(v))
	return nil
}
