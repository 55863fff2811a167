package runtimes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate/enrich/container"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/correlate/enrich/container/runtimes"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/test/machine"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
)

// dockerAPI answers as an engine with these containers (id → name), all with one address.
func dockerAPI(t *testing.T, path string, names map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	for id, name := range names {
		list = append(list, map[string]any{
			"Id": id, "Names": []string{"/" + name}, "State": "running", "Created": 1,
			"NetworkSettings": map[string]any{"Networks": map[string]any{"n": map[string]any{"IPAddress": "172.17.0.2"}}},
		})
	}
	body, _ := json.Marshal(list)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/version":
			io.WriteString(w, `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}`)
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			w.Write(body)
		default:
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
}

func run(t *testing.T, cfg runtimes.Config) *runtimes.Set {
	t.Helper()
	s, err := runtimes.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func connected(s *runtimes.Set, n int) func() bool {
	return func() bool {
		up := 0
		for _, r := range s.Status() {
			if r.Connected {
				up++
			}
		}
		return up == n
	}
}

func resolver(paths map[uint64]string, s *runtimes.Set) *container.Resolver {
	table := cgroup.New(cgroup.Config{})
	r := container.New(table, s)
	for id, p := range paths {
		r.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Unified: true, Path: []byte(p)})
	}
	return r
}

// A hung engine and one that is not there keep nobody from the third.
func TestEnginesAreIndependent(t *testing.T) {
	dir := t.TempDir()
	hung, err := net.Listen("unix", dir+"/hung.sock") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	dockerAPI(t, dir+"/podman.sock", map[string]string{idA: "web"})
	s := run(t, runtimes.Config{Sockets: []string{"docker:" + dir + "/hung.sock", "cri:" + dir + "/nothing.sock", "podman:unix://" + dir + "/podman.sock"}})
	machine.Until(t, "podman answers", connected(s, 1))
	r := resolver(map[uint64]string{1: "/machine.slice/libpod-" + idA + ".scope"}, s)
	if c, pending := r.Lookup(1, 0); c == nil || c.Name != "web" || pending {
		t.Errorf("%+v, %v", c, pending)
	}
	if c := s.ByAddress(flows.AddrFrom(netip.MustParseAddr("172.17.0.2")), time.Now().UnixNano()); c == nil || c.Name != "web" {
		t.Errorf("%+v", c)
	}
	st := s.Status()
	if len(st) != 3 || st[0].Connected || st[1].Connected || st[1].Kind != runtimes.CRI || !st[2].Connected {
		t.Errorf("%+v", st)
	}
}

// Two engines claim an address: nobody has it.
func TestTwoEnginesClaimAnAddress(t *testing.T) {
	dir := t.TempDir()
	dockerAPI(t, dir+"/1", map[string]string{idA: "one"})
	dockerAPI(t, dir+"/2", map[string]string{idB: "two"})
	s := run(t, runtimes.Config{Sockets: []string{"docker:" + dir + "/1", "podman:" + dir + "/2"}})
	machine.Until(t, "both answer", connected(s, 2))
	if c := s.ByAddress(flows.AddrFrom(netip.MustParseAddr("172.17.0.2")), time.Now().UnixNano()); c != nil {
		t.Errorf("%+v", c)
	}
}

// A user's engine names that user's containers, and nothing else.
func TestUsersEngines(t *testing.T) {
	dir := t.TempDir()
	dockerAPI(t, dir+"/1000/podman/podman.sock", map[string]string{idA: "mine", idB: "stolen"})
	s := run(t, runtimes.Config{Sockets: []string{runtimes.Auto}, Docker: dir + "/nothing", UserDir: dir})
	const slice = "/user.slice/user-1000.slice/user@1000.service/"
	r := resolver(map[uint64]string{
		1: slice + "user.slice/libpod-" + idA + ".scope/container",
		2: "/docker/" + idB,
		3: "/user.slice/user-1001.slice/user@1001.service/user.slice/libpod-" + idA + ".scope",
		4: slice + "user@0.service/libpod-" + idB + ".scope", // a user writes what they like: it stays theirs
		5: "/user.slice/user-1000.slice/user@../../etc.service/libpod-" + idB + ".scope",
	}, s)
	machine.Until(t, "the user's engine answers", func() bool { c, _ := r.Lookup(1, 0); return c.Name == "mine" })
	for id, want := range map[uint64]string{1: "mine", 2: "", 3: "", 4: "stolen", 5: "stolen"} {
		if c, _ := r.Lookup(id, 0); c == nil || c.Name != want {
			t.Errorf("%d: %+v, want %q", id, c, want)
		}
	}
	if c := s.ByAddress(flows.AddrFrom(netip.MustParseAddr("172.17.0.2")), time.Now().UnixNano()); c != nil {
		t.Errorf("a user took an address: %+v", c)
	}
	for _, st := range s.Status() {
		if st.User != "" && st.User != "1000" && st.User != "1001" {
			t.Errorf("looked for the engine of %q", st.User)
		}
	}
	for uid := range 100 {
		s.Of(fmt.Sprint(2000 + uid))
	}
	users := map[string]bool{}
	for _, st := range s.Status() {
		users[st.User] = true
	}
	if len(users) > 33 || s.Stats().Refused == 0 {
		t.Errorf("%d users' engines are followed, %+v", len(users), s.Stats())
	}
}

// A reload ends Run and calls it again; engines of users are among those that live
// on.
func TestRunAgain(t *testing.T) {
	dir := t.TempDir()
	s, err := runtimes.New(runtimes.Config{Sockets: []string{runtimes.Auto}, Docker: dir + "/nothing", UserDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.Of("1000") // before anything runs
	for round := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		if round == 0 {
			machine.Until(t, "the user's engines are looked for", func() bool { return s.Status()[len(s.Status())-1].Error != "" })
			dockerAPI(t, dir+"/1000/podman/podman.sock", map[string]string{idA: "mine"})
		} else {
			machine.Until(t, "the user's engine answers", connected(s, 1))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Containers of Docker are no business of a CRI runtime beside it, and the other
// way round.
func TestWhoMakesWhat(t *testing.T) {
	s, err := runtimes.New(runtimes.Config{Sockets: []string{"docker:/d", "cri:/c"}})
	if err != nil {
		t.Fatal(err)
	}
	for rt, want := range map[cgroup.Runtime][]bool{
		cgroup.Docker: {true, false}, cgroup.Podman: {true, false}, cgroup.Containerd: {false, true},
		cgroup.CRIO: {false, true}, cgroup.Kubernetes: {true, true}, cgroup.Unknown: {true, true},
	} {
		var got []bool
		for _, e := range s.System() {
			got = append(got, e.Makes(rt))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", rt, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, bad := range [][]string{{"docker"}, {"cri:"}, {"cri:relative"}, {"podman:tcp://1.2.3.4:80"}, {"lxd:/x"}, {""}} {
		if (runtimes.Config{Sockets: bad}).Validate() == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	for _, c := range []struct {
		cfg  runtimes.Config
		want []string
	}{
		{runtimes.Config{Sockets: []string{"none"}}, nil},
		{runtimes.Config{Sockets: []string{"cri:/a", "cri:/a"}}, []string{"cri /a 0"}},
		{runtimes.Config{Sockets: []string{"auto"}, Docker: "/mine"}, []string{
			"docker /mine 0", "cri /run/containerd/containerd.sock 1", "cri /run/k3s/containerd/containerd.sock 1", "cri /run/crio/crio.sock 1", "podman /run/podman/podman.sock 1",
		}},
	} {
		s, err := runtimes.New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range s.Status() {
			got = append(got, fmt.Sprint(r.Kind, " ", r.Socket, " ", r.Presence))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.cfg, got)
		}
	}
	if engine.Expected != 0 || engine.Possible != 1 {
		t.Error("the numbers above mean something else")
	}
}
