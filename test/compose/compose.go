// Package compose finds Docker Compose v2 for tests, which build.sh in this folder makes.
package compose

import (
	"os/exec"

	"github.com/weir-probe/weir/test/machine"
)

// Version that build.sh makes.
const Version = "2.40.3"

// Command is Compose v2, of the docker command or of the cache; nil: there is none.
func Command() []string {
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	if path := machine.Cached("docker-compose-" + Version); path != "" {
		return []string{path}
	}
	return nil
}
