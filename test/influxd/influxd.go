// Package influxd starts real InfluxDB servers for tests: the versions that
// build.sh in this folder makes, 1.8.10 and 2.7.12.
package influxd

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
)

// Versions that build.sh makes.
const (
	V1 = "1.8.10"
	V2 = "2.7.12"
)

// Command is the influx command of InfluxDB 2 that cli.sh makes; empty: it is not there.
func Command() string { return machine.Cached("influx-2.5") }

// Names that every server here has.
const (
	Org       = "weir-test"
	Bucket    = "weir" // and the database of that name
	LogBucket = "weir_log"
	adminUser = "admin"
	adminPass = "weir-test-admin"
)

// Server is one InfluxDB, with buckets (2.x, each with a DBRP mapping to the
// database of its name) or databases (1.x) weir and weir_log.
type Server struct {
	URL     string
	Version string
	Org     string
	Token   string // of the administrator; "" on 1.x, which asks for none here

	dir     string
	bin     string
	addr    string
	cmd     *exec.Cmd
	done    chan struct{}
	logFile string
	http    string // more lines of the section [http] of 1.x
	settle  bool
}

// Start runs a server of its own for t. Of a version that is not built it skips
// t, or fails it when WEIR_REQUIRE contains "influxdb". With
// WEIR_TEST_INFLUXDB_URL (and _TOKEN, _ORG, _VERSION) in the environment, a test
// of that version's major number uses the server there.
func Start(t testing.TB, version string) *Server {
	t.Helper()
	return start(t, version, "")
}

// StartWithUsers is Start of a 1.x that asks for a user and password; Token is
// the administrator's, user:password.
func StartWithUsers(t testing.TB, version string) *Server {
	t.Helper()
	return start(t, version, "  auth-enabled = true\n")
}

// StartToMeasure is Start of a server of its own that compacts what it has as soon as
// nothing comes any more, instead of after hours.
func StartToMeasure(t testing.TB, version string) *Server {
	t.Helper()
	return startOwn(t, version, &Server{settle: true})
}

// StartIn is Start of a server of its own whose files, but for its log, are in dir.
func StartIn(t testing.TB, version, dir string) *Server {
	t.Helper()
	return startOwn(t, version, &Server{dir: dir})
}

// StartKept is StartIn of a server that keeps its data for a later run, and says whether an earlier one left some there.
func StartKept(t testing.TB, version, dir string) (s *Server, left bool) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat(filepath.Join(dir, tokenFile))
	return startOwn(t, version, &Server{dir: dir}), err == nil
}

// tokenFile in a server's folder has its token, from when it is set up.
const tokenFile = "token"

// RestartToMeasure goes on as StartToMeasure would have begun: where much is written
// first, it is not compacted in between.
func (s *Server) RestartToMeasure(t testing.TB) {
	t.Helper()
	s.settle = true
	s.Restart(t)
}

func start(t testing.TB, version, http string) *Server {
	t.Helper()
	if s := fromEnvironment(t, version); s != nil && http == "" {
		return s
	}
	return startOwn(t, version, &Server{http: http})
}

func startOwn(t testing.TB, version string, s *Server) *Server {
	t.Helper()
	bin := machine.Find("influxd-" + version)
	if bin == "" {
		machine.Missing(t, "influxdb", fmt.Sprintf("InfluxDB %s is not built: test/influxd/build.sh %s", version, version))
	}
	s.Version, s.bin, s.Org, s.addr = version, bin, Org, machine.FreeAddress(t)
	s.URL = "http://" + s.addr
	logs := t.TempDir()
	s.logFile = filepath.Join(logs, "influxd.log")
	if s.dir == "" {
		s.dir = logs
	}
	t.Cleanup(func() {
		s.Stop(t)
		if t.Failed() {
			b, _ := os.ReadFile(s.logFile)
			t.Logf("end of the log of InfluxDB %s:\n%s", version, b[max(0, len(b)-3000):])
		}
	})
	s.run(t)
	if token, err := os.ReadFile(filepath.Join(s.dir, tokenFile)); err == nil {
		s.Token = string(token)
		return s
	}
	s.setup(t)
	if err := os.WriteFile(filepath.Join(s.dir, tokenFile), []byte(s.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func fromEnvironment(t testing.TB, version string) *Server {
	u := os.Getenv("WEIR_TEST_INFLUXDB_URL")
	v := os.Getenv("WEIR_TEST_INFLUXDB_VERSION")
	if u == "" || v == "" || v[0] != version[0] {
		return nil
	}
	s := &Server{URL: strings.TrimSuffix(u, "/"), Version: v, Org: os.Getenv("WEIR_TEST_INFLUXDB_ORG"), Token: os.Getenv("WEIR_TEST_INFLUXDB_TOKEN")}
	if s.Token == "" {
		s.setup(t)
	}
	return s
}

// V1 says whether the server is 1.x.
func (s *Server) V1() bool { return strings.HasPrefix(s.Version, "1.") }

func (s *Server) run(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(s.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if s.V1() {
		s.cmd = exec.Command(s.bin, "-config", s.writeConfig(t))
	} else {
		s.cmd = exec.Command(s.bin, "run", "--http-bind-address", s.addr,
			"--bolt-path", filepath.Join(s.dir, "influxd.bolt"), "--sqlite-path", filepath.Join(s.dir, "influxd.sqlite"),
			"--engine-path", filepath.Join(s.dir, "engine"), "--reporting-disabled", "--storage-wal-fsync-delay", "0s")
		if s.settle {
			s.cmd.Args = append(s.cmd.Args, "--storage-compact-full-write-cold-duration", "3s", "--storage-cache-snapshot-write-cold-duration", "1s")
		}
	}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	s.cmd.Env = append(os.Environ(), "HOME="+s.dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start InfluxDB %s: %v", s.Version, err)
	}
	s.done = make(chan struct{})
	cmd, done := s.cmd, s.done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	s.waitReady(t)
}

func (s *Server) writeConfig(t testing.TB) string {
	path := filepath.Join(s.dir, "influxd.conf")
	data := ""
	if s.settle {
		data = "  compact-full-write-cold-duration = \"3s\"\n  cache-snapshot-write-cold-duration = \"1s\"\n"
	}
	conf := fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = %q
[data]
  dir = %q
  wal-dir = %q
  index-version = "tsi1"
  query-log-enabled = false
%s[http]
  bind-address = %q
  log-enabled = false
  flux-enabled = false
%s[monitor]
  store-enabled = false
`, filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"), filepath.Join(s.dir, "wal"), data, s.addr, s.http)
	if err := os.WriteFile(path, []byte(conf), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *Server) waitReady(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for time.Now().Before(deadline) {
		select {
		case <-s.done:
			b, _ := os.ReadFile(s.logFile)
			t.Fatalf("InfluxDB %s ended at its start:\n%s", s.Version, b[max(0, len(b)-3000):])
		default:
		}
		resp, err := http.Get(s.URL + "/health")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("InfluxDB %s did not get ready in 3 minutes", s.Version)
}

// setup makes the administrator and the buckets or databases.
func (s *Server) setup(t testing.TB) {
	t.Helper()
	if !s.V1() {
		var v struct {
			Auth struct {
				Token string `json:"token"`
			} `json:"auth"`
		}
		s.call(t, "POST", "/api/v2/setup", map[string]any{"username": adminUser, "password": adminPass,
			"org": s.Org, "bucket": "unused"}, &v)
		s.Token = v.Auth.Token
	} else if s.http != "" { // the first user may be made by anybody
		s.QueryInfluxQL(t, "", fmt.Sprintf("CREATE USER %s WITH PASSWORD '%s' WITH ALL PRIVILEGES", adminUser, adminPass))
		s.Token = adminUser + ":" + adminPass
	}
	s.CreateBucket(t, Bucket)
	s.CreateBucket(t, LogBucket)
}

// Stop ends the server in an orderly way and keeps its data.
func (s *Server) Stop(t testing.TB) { s.end(t, syscall.SIGTERM) }

// Kill ends the server as a crash would and keeps its data.
func (s *Server) Kill(t testing.TB) { s.end(t, syscall.SIGKILL) }

// Restart runs it again, on the same port and data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.run(t)
}

func (s *Server) end(t testing.TB, sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
		t.Errorf("InfluxDB %s did not end in 20 s", s.Version)
	}
	s.cmd = nil
}

// CreateBucket makes a bucket and the mapping that lets InfluxQL read it as a
// database, or the database.
func (s *Server) CreateBucket(t testing.TB, name string) {
	t.Helper()
	s.CreateBucketFor(t, name, 0)
}

// CreateBucketFor is CreateBucket of one that keeps rows for so long, 0 = for ever.
func (s *Server) CreateBucketFor(t testing.TB, name string, keep time.Duration) {
	t.Helper()
	if s.V1() {
		q := fmt.Sprintf("CREATE DATABASE %q", name)
		if keep > 0 {
			q += fmt.Sprintf(" WITH DURATION %ds", int(keep.Seconds()))
		}
		s.QueryInfluxQL(t, "", q)
		return
	}
	var bucket struct {
		ID string `json:"id"`
	}
	org := s.orgID(t)
	rules := []map[string]any{}
	if keep > 0 {
		rules = append(rules, map[string]any{"type": "expire", "everySeconds": int(keep.Seconds())})
	}
	s.call(t, "POST", "/api/v2/buckets", map[string]any{"name": name, "orgID": org, "retentionRules": rules}, &bucket)
	s.call(t, "POST", "/api/v2/dbrps", map[string]any{"orgID": org, "bucketID": bucket.ID,
		"database": name, "retention_policy": "autogen", "default": true}, nil)
}

// DeleteBucket takes away a bucket with its mapping, or the database.
func (s *Server) DeleteBucket(t testing.TB, name string) {
	t.Helper()
	if s.V1() {
		s.QueryInfluxQL(t, "", fmt.Sprintf("DROP DATABASE %q", name))
		return
	}
	id, org := s.bucketID(t, name), s.orgID(t)
	var mappings struct {
		Content []struct {
			ID       string
			BucketID string
			Virtual  bool
		}
	}
	s.call(t, "GET", "/api/v2/dbrps?orgID="+org, nil, &mappings)
	for _, m := range mappings.Content {
		if m.BucketID == id && !m.Virtual {
			s.call(t, "DELETE", "/api/v2/dbrps/"+m.ID+"?orgID="+org, nil, nil)
		}
	}
	s.call(t, "DELETE", "/api/v2/buckets/"+id, nil, nil)
}

// CreateToken makes a token of 2.x that may only write to the buckets named.
func (s *Server) CreateToken(t testing.TB, buckets ...string) string {
	t.Helper()
	org := s.orgID(t)
	var permissions []map[string]any
	for _, b := range buckets {
		permissions = append(permissions, map[string]any{"action": "write",
			"resource": map[string]any{"type": "buckets", "id": s.bucketID(t, b), "orgID": org}})
	}
	var auth struct {
		Token string `json:"token"`
	}
	s.call(t, "POST", "/api/v2/authorizations", map[string]any{"orgID": org, "permissions": permissions}, &auth)
	return auth.Token
}

func (s *Server) bucketID(t testing.TB, name string) string {
	t.Helper()
	var list struct {
		Buckets []struct {
			ID string `json:"id"`
		} `json:"buckets"`
	}
	s.call(t, "GET", "/api/v2/buckets?name="+url.QueryEscape(name), nil, &list)
	if len(list.Buckets) != 1 {
		t.Fatalf("there is no bucket %s", name)
	}
	return list.Buckets[0].ID
}

func (s *Server) orgID(t testing.TB) string {
	t.Helper()
	var list struct {
		Orgs []struct {
			ID string `json:"id"`
		} `json:"orgs"`
	}
	s.call(t, "GET", "/api/v2/orgs?org="+url.QueryEscape(s.Org), nil, &list)
	if len(list.Orgs) != 1 {
		t.Fatalf("there is no organization %s", s.Org)
	}
	return list.Orgs[0].ID
}
