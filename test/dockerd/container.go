package dockerd

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Busybox imports an image of the host's static busybox with all its applets and
// returns its name.
func (e *Engine) Busybox(t testing.TB) string {
	t.Helper()
	files, links := Applets(t)
	return e.Import(t, "weir-test/busybox:1", files, links)
}

// Applets are what an image has to have of the host's static busybox for Import: the
// program and a link for each of its applets.
func Applets(t testing.TB) (files, links map[string]string) {
	t.Helper()
	bin, err := exec.LookPath("busybox")
	if err != nil {
		missing(t, "busybox is not installed (Debian: busybox-static)")
	}
	list, err := exec.Command(bin, "--list").Output()
	if err != nil {
		t.Fatalf("list the applets of %s: %v", bin, err)
	}
	links = map[string]string{}
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			links["/bin/"+applet] = "busybox"
		}
	}
	return map[string]string{"/bin/busybox": bin}, links
}

// Libraries are the files that a dynamic program of the host loads, for Import at their
// own paths.
func Libraries(t testing.TB, program string) map[string]string {
	t.Helper()
	out, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		t.Fatalf("libraries of %s: %v: %s", program, err, out)
	}
	files := map[string]string{}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	return files
}

// Import makes an image of files (path in the image → path on the host; static
// binaries) and symbolic links (path → target) and returns its name.
func (e *Engine) Import(t testing.TB, name string, files, links map[string]string) string {
	t.Helper()
	var archive bytes.Buffer
	if err := pack(&archive, files, links); err != nil {
		t.Fatalf("pack image %s: %v", name, err)
	}
	cmd := exec.Command("docker", "import", "-", name)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("import image %s: %v: %s", name, err, out)
	}
	return name
}

func pack(w io.Writer, files, links map[string]string) error {
	tw := tar.NewWriter(w)
	dirs := map[string]bool{"tmp": true, "etc": true, "proc": true, "sys": true, "dev": true}
	for _, set := range []map[string]string{files, links} {
		for p := range set {
			for d := path.Dir(strings.TrimPrefix(p, "/")); d != "."; d = path.Dir(d) {
				dirs[d] = true
			}
		}
	}
	for _, d := range sortedKeys(dirs) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, p := range sortedKeys(files) {
		b, err := os.ReadFile(files[p])
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: strings.TrimPrefix(p, "/"), Mode: 0o755, Size: int64(len(b))}); err != nil {
			return err
		}
		if _, err := tw.Write(b); err != nil {
			return err
		}
	}
	for _, p := range sortedKeys(links) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(p, "/"), Linkname: links[p], Mode: 0o777}); err != nil {
			return err
		}
	}
	return tw.Close()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Docker runs the docker command and fails the test when it fails.
func (e *Engine) Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := e.CLI(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Run starts a container in the background (docker run -d ARGS) and returns its
// id; it is removed when the test ends. Stopping it kills it: a first process
// ignores SIGTERM unless it says otherwise.
func (e *Engine) Run(t testing.TB, args ...string) string {
	t.Helper()
	id := e.Docker(t, append([]string{"run", "-d", "--stop-signal", "SIGKILL"}, args...)...)
	t.Cleanup(func() { _, _ = e.CLI("rm", "-f", id) })
	return id
}

// Network makes a user-defined network, removed when the test ends.
func (e *Engine) Network(t testing.TB, name string, args ...string) {
	t.Helper()
	begun, err := e.inTurn()
	if err != nil {
		t.Fatal(err)
	}
	defer begun()
	e.Docker(t, append(append([]string{"network", "create"}, args...), name)...)
	t.Cleanup(func() { _, _ = e.CLI("network", "rm", name) })
}

// Compose returns the labels that Compose would give a container.
func Compose(project, service string, number int) []string {
	return []string{
		"--label", "com.docker.compose.project=" + project,
		"--label", "com.docker.compose.service=" + service,
		"--label", "com.docker.compose.container-number=" + strconv.Itoa(number),
	}
}

// PID returns the host's PID of a container's first process.
func (e *Engine) PID(t testing.TB, id string) int {
	t.Helper()
	pid, err := strconv.Atoi(e.Docker(t, "inspect", "-f", "{{.State.Pid}}", id))
	if err != nil || pid == 0 {
		t.Fatalf("container %s has no process: %v", id, err)
	}
	return pid
}

// IP returns a container's address in a network ("bridge" is the default one).
func (e *Engine) IP(t testing.TB, id, network string) string {
	t.Helper()
	return e.Docker(t, "inspect", "-f", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", network), id)
}
