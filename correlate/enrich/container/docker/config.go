package docker

import "github.com/weir-probe/weir/correlate/enrich/container/engine"

// Where engines listen by default.
const (
	DefaultHost = "/var/run/docker.sock"
	PodmanHost  = "/run/podman/podman.sock"
)

// Config says where the engine is; Host defaults to DefaultHost.
type Config = engine.Config
