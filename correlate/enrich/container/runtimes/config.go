package runtimes

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-probe/weir/correlate/enrich/container/cri"
	"github.com/weir-probe/weir/correlate/enrich/container/docker"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
)

// Names of the kinds of engines.
const (
	Docker = "docker"
	Podman = "podman"
	CRI    = "cri"
)

// Words in Config.Sockets that stand for more, or less, than one socket.
const (
	Auto = "auto"
	None = "none"
)

// Config says which engines there are.
type Config struct {
	// Sockets are auto, none, or KIND:PATH with a kind of docker, podman, cri.
	Sockets []string
	// Docker is where auto looks for Docker.
	Docker string
	// UserDir holds a directory per user (default /run/user), where auto finds the
	// engines that users run for themselves.
	UserDir string
	Logger  *slog.Logger // nil discards
}

// candidate is one socket to follow.
type candidate struct {
	kind, path string
	presence   engine.Presence
}

// usual is where auto looks beside Docker.
var usual = []candidate{
	{CRI, cri.ContainerdHost, engine.Possible},
	{CRI, cri.K3sHost, engine.Possible},
	{CRI, cri.CRIOHost, engine.Possible},
	{Podman, docker.PodmanHost, engine.Possible},
}

// Validate checks the list of sockets.
func (c Config) Validate() error {
	_, err := c.candidates()
	return err
}

// auto says whether engines are to be looked for.
func (c Config) auto() bool { return slices.Contains(c.Sockets, Auto) }

func (c Config) candidates() ([]candidate, error) {
	var all []candidate
	add := func(s candidate) error {
		if err := (engine.Config{Host: s.path}).Validate(); err != nil {
			return err
		}
		s.path = strings.TrimPrefix(s.path, "unix://")
		if !slices.ContainsFunc(all, func(o candidate) bool { return o.path == s.path }) {
			all = append(all, s)
		}
		return nil
	}
	for _, s := range c.Sockets {
		kind, path, _ := strings.Cut(s, ":")
		switch {
		case s == None:
		case s == Auto:
			d := candidate{Docker, c.Docker, engine.Expected}
			if c.Docker == "" || c.Docker == docker.DefaultHost {
				d.path, d.presence = docker.DefaultHost, engine.Possible
			}
			if err := add(d); err != nil {
				return nil, err
			}
			for _, u := range usual {
				_ = add(u) // they are valid
			}
		case (kind == Docker || kind == Podman || kind == CRI) && path != "":
			if err := add(candidate{kind, path, engine.Expected}); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("container runtime %q: must be auto, none, docker:PATH, podman:PATH or cri:PATH", s)
		}
	}
	return all, nil
}

// of are the sockets of a user's own engines.
func (c Config) of(user string) []candidate {
	dir := filepath.Join(c.UserDir, user)
	return []candidate{
		{Podman, filepath.Join(dir, "podman/podman.sock"), engine.Possible},
		{Docker, filepath.Join(dir, "docker.sock"), engine.Possible},
	}
}
