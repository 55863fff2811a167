package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	dockercompose "github.com/weir-probe/weir/test/compose"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// engine is a Docker Engine for a test that is root.
func engine(t *testing.T) *dockerd.Engine {
	t.Helper()
	machine.Root(t, "starts dockerd")
	return dockerd.Start(t)
}

// image builds deploy/Dockerfile.prebuilt around the package's binary.
func image(t *testing.T, e *dockerd.Engine, name, pkg string) string {
	t.Helper()
	return build(t, e, name, pkg, "weir", "Dockerfile.prebuilt", "../LICENSE", "../.dockerignore")
}

// build makes an image of a package's binary with a Dockerfile and files beside it, with
// the classic builder and no registry, as Debian's Docker 20.10 would.
func build(t *testing.T, e *dockerd.Engine, name, pkg, binary, dockerfile string, beside ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Rename(probe.Build(t, pkg), filepath.Join(dir, binary)); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(beside, dockerfile) {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_BUILDKIT", "0")
	e.Docker(t, "build", "-q", "-t", name, "-f", filepath.Join(dir, filepath.Base(dockerfile)), dir)
	return name
}

// instead does what docker-compose.yml says for Docker before 23, which calls
// CAP_BPF and CAP_PERFMON unknown (moby/moby#42601).
func instead(t *testing.T, e *dockerd.Engine, capabilities []string) []string {
	t.Helper()
	version := strings.TrimSpace(e.Docker(t, "version", "--format", "{{.Server.Version}}"))
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n >= 23 {
		return capabilities
	}
	t.Logf("Docker %s: SYS_ADMIN in place of BPF and PERFMON", version)
	without := slices.DeleteFunc(slices.Clone(capabilities), func(c string) bool { return c == "BPF" || c == "PERFMON" })
	return append(without, "SYS_ADMIN")
}

// composeCommand is Compose v2 with docker-compose.yml as a project of a name.
func composeCommand(t *testing.T, project string) []string {
	t.Helper()
	command := dockercompose.Command()
	if command == nil {
		machine.Missing(t, "compose", "Docker Compose v2 is not here: test/compose/build.sh")
	}
	return append(command, "-p", project, "--project-directory", "..", "-f", "../docker-compose.yml")
}

// project is docker-compose.yml on a Docker Engine of the test's own, which has the images.
type project struct {
	*dockerd.Engine
	t       *testing.T
	command []string
	dir     string
	env     []string
}

// newProject is forgotten, volumes included, when the test ends.
func newProject(t *testing.T, name string) *project {
	t.Helper()
	command, dir := composeCommand(t, name), t.TempDir() // which outlives the project
	p := &project{engine(t), t, command, dir, os.Environ()}
	p.env = append(p.env, "DOCKER_HOST="+p.Host)
	t.Cleanup(func() { _, _ = p.run("--profile", "*", "down", "--timeout", "1", "--volumes") })
	// What this engine cannot do is left out: the ulimit (an engine without CAP_SYS_RESOURCE
	// cannot set it, and only kernels before 5.11 look at it). And it listens elsewhere.
	p.change(fmt.Sprintf("services:\n  weir:\n    ulimits: !reset {}\n    cap_add: !override [%s]\n    volumes: ['%s:/var/run/docker.sock:ro']\n",
		strings.Join(instead(t, p.Engine, readCompose(t).Services["weir"].CapAdd), ", "), strings.TrimPrefix(p.Host, "unix://")))
	return p
}

// change has what a further file of Compose says otherwise hold from now on.
func (p *project) change(text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, fmt.Sprintf("change-%d.yml", len(p.command)))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
	p.command = append(p.command, "-f", path)
}

// run runs Compose, and returns all that it printed.
func (p *project) run(args ...string) (string, error) {
	cmd := exec.Command(p.command[0], slices.Concat(p.command[1:], args)...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("compose %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// must is run of what must not fail.
func (p *project) must(args ...string) string {
	p.t.Helper()
	out, err := p.run(args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// logs are what a service has written.
func (p *project) logs(service string) string {
	p.t.Helper()
	return p.must("logs", "--no-color", "--no-log-prefix", service)
}
