// Package compose finds Docker Compose v2 for tests, which build.sh in this folder makes.
package compose

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Version that build.sh makes.
const Version = "2.40.3"

// Command is Compose v2, of the docker command or of the cache; nil: there is none.
func Command() []string {
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	cache := os.Getenv("WEIR_CACHE")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache", "weir")
	}
	path := filepath.Join(cache, "docker-compose-"+Version)
	if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
		return []string{path}
	}
	return nil
}
