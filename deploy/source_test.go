package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestImageFromSource: what stands in for a build of deploy/Dockerfile with its golang
// image, which no registry gives here. Its build context has everything that both programs
// are made of, its commands are those of the Makefile, its Go is new enough, and the image
// is the one of Dockerfile.prebuilt.
func TestImageFromSource(t *testing.T) {
	stages := readStages(t, "Dockerfile")
	dir := buildContext(t)
	for target, pkg := range map[string]string{"build": "./cmd/weir", "build-demo": "./deploy/demo"} {
		i := slices.IndexFunc(stages, func(s stage) bool { return s.name == target })
		if i < 0 {
			t.Fatalf("no stage %s", target)
		}
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-mod=readonly", "-tags", "grpcnotrace", pkg)
		list.Dir = dir
		list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := list.CombinedOutput(); err != nil {
			t.Errorf("the build context lacks something of %s: %v\n%s", pkg, err, out)
		}
		made := stages[i].instructions[len(stages[i].instructions)-1]
		if want := makeFlags(t, pkg); !strings.HasSuffix(made, pkg) || buildFlags(made) != want {
			t.Errorf("%s is built by %q, the Makefile has %q", pkg, made, want)
		}
	}
	for _, want := range []string{"weir", "demo"} {
		if !slices.ContainsFunc(stages, func(s stage) bool { return s.name == want && s.from == "scratch" }) {
			t.Errorf("no target %s that is nothing but the program", want)
		}
	}
	last, prebuilt := stages[len(stages)-1], readStages(t, "Dockerfile.prebuilt")[0]
	for i, line := range last.instructions {
		last.instructions[i] = strings.Replace(line, "COPY --from=build /weir", "COPY weir", 1)
	}
	if last.name != "weir" || !slices.Equal(last.instructions, prebuilt.instructions) {
		t.Errorf("the image from source is\n%s\nthe other one\n%s", strings.Join(last.instructions, "\n"), strings.Join(prebuilt.instructions, "\n"))
	}
	version := regexp.MustCompile(`^golang:(1\.\d+)\.\d+$`).FindStringSubmatch(stages[0].from)
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if version == nil || !strings.Contains(string(mod), "\ngo "+version[1]+".") {
		t.Errorf("image %q is not pinned to a release of go.mod's Go", stages[0].from)
	}
}

type stage struct {
	from, name   string
	instructions []string
}

func readStages(t *testing.T, name string) (stages []stage) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case line == "" || line[0] == '#':
		case words[0] == "FROM":
			stages = append(stages, stage{from: words[1], name: words[len(words)-1]})
		default:
			s := &stages[len(stages)-1]
			s.instructions = append(s.instructions, line)
		}
	}
	return stages
}

// buildContext is a folder with what .dockerignore lets through, but for programs.
func buildContext(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for line := range strings.Lines(string(b)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "!")
		if !ok || name == "weir" {
			continue
		}
		from, to := filepath.Join("..", name), filepath.Join(dir, name)
		if st, err := os.Stat(from); err != nil {
			t.Fatal(err)
		} else if st.IsDir() {
			err = os.CopyFS(to, os.DirFS(from))
			if err != nil {
				t.Fatal(err)
			}
		} else if b, err := os.ReadFile(from); err != nil || os.WriteFile(to, b, 0o644) != nil {
			t.Fatal(from, err)
		}
	}
	return dir
}

// makeFlags are those that the Makefile builds a program with.
func makeFlags(t *testing.T, pkg string) string {
	t.Helper()
	b, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var ldflags string
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "LDFLAGS       ?= "); ok {
			ldflags = strings.TrimSpace(v)
		}
		if strings.HasSuffix(strings.TrimSpace(line), pkg) && strings.Contains(line, "CGO_ENABLED=0 $(GO) build") {
			return buildFlags(strings.NewReplacer("$(LDFLAGS)", ldflags).Replace(line))
		}
	}
	t.Fatalf("the Makefile does not build %s", pkg)
	return ""
}

// buildFlags is what stands between `build` and `-o`, with quotes and variables as a
// shell has them.
func buildFlags(command string) string {
	_, flags, _ := strings.Cut(command, " build ")
	flags, _, _ = strings.Cut(flags, " -o ")
	return strings.NewReplacer("$(VERSION)", "${VERSION}", "$(COMMIT)", "${COMMIT}", `"`, "'").Replace(flags)
}
