package services

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink/decode"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// patience is how long anything that must happen may take on a busy machine.
const patience = 90 * time.Second

// bed is a Docker Engine, a network of a shop in it, and a weir that watches.
type bed struct {
	t      *testing.T
	engine *dockerd.Engine
	image  string
	files  string // testdata, in every container at /files
	rows   string // what weir wrote
	peer   string // the servers and clients in Go, in every container at /peer
	weir   *probe.Process
}

func newBed(t *testing.T) *bed {
	t.Helper()
	machine.Root(t, "runs the probe")
	b := &bed{t: t, engine: dockerd.Start(t), rows: filepath.Join(t.TempDir(), "rows.lp")}
	var err error
	if b.files, err = filepath.Abs("testdata"); err != nil {
		t.Fatal(err)
	}
	// The host's own /usr stands in for an image that no registry is here to give.
	b.image = b.engine.Import(t, "weir-test/host:1", nil, map[string]string{"/bin": "usr/bin", "/lib": "usr/lib", "/lib64": "usr/lib64", "/sbin": "usr/sbin"})
	b.engine.Network(t, "shopnet")
	b.peer = probe.Build(t, "./test/services/peer")
	bin := probe.Build(t, "./cmd/weir")
	b.weir = probe.Start(t, bin, "run", "--interval", "1s", "--host", "h", "--docker", strings.TrimPrefix(b.engine.Host, "unix://"),
		"--listen", "", "--journal", "", "--flow-log-rate", "1000000", "--sink", "file:"+b.rows)
	b.weir.WaitReady(t)
	return b
}

// container runs a shell command as a service of the shop.
func (b *bed) container(service string, docker []string, command string) (id, ip string) {
	b.t.Helper()
	args := append([]string{
		"--network", "shopnet", "--name", "shop_" + service + "_1", "--hostname", service,
		"-v", "/usr:/usr:ro", "-v", "/etc:/etc:ro", "-v", b.files + ":/files:ro", "-v", b.peer + ":/peer:ro",
		"--tmpfs", "/tmp:exec,mode=1777", "--tmpfs", "/var:mode=1777", "--tmpfs", "/run:mode=1777",
	}, dockerd.Compose("shop", service, 1)...)
	args = append(append(args, docker...), b.image, "/bin/sh", "-c", command)
	id = b.engine.Run(b.t, args...)
	b.t.Cleanup(func() {
		if b.t.Failed() {
			stdout, stderr, _ := b.logs(id)
			b.t.Logf("%s said:\n%s%s", service, tail(stdout), tail(stderr))
		}
	})
	return id, b.engine.IP(b.t, id, "shopnet")
}

// asked is one request as its client lived it.
type asked struct {
	L7        string
	Operation string
	Status    string
	Failed    bool
	NS        int64
	Piped     bool // it waited for others of its pipeline
}

// client runs a client to its end and returns its log.
func (b *bed) client(service string, docker []string, command string) []asked {
	b.t.Helper()
	id, _ := b.container(service, docker, command)
	code := b.engine.Docker(b.t, "wait", id)
	stdout, stderr, err := b.logs(id)
	if err != nil || code != "0" {
		b.t.Fatalf("client %s ended with %s (%v):\n%s%s", service, code, err, tail(stdout), tail(stderr))
	}
	var log []asked
	for s := bufio.NewScanner(strings.NewReader(stdout)); s.Scan(); {
		var a asked
		if err := json.Unmarshal(s.Bytes(), &a); err != nil {
			b.t.Fatalf("client %s wrote %q: %v", service, s.Text(), err)
		}
		log = append(log, a)
	}
	if len(log) == 0 {
		b.t.Fatalf("client %s asked for nothing:\n%s", service, stderr)
	}
	return log
}

// logs returns what a container has written.
func (b *bed) logs(id string) (stdout, stderr string, err error) {
	var out, errs strings.Builder
	logs := exec.Command("docker", "logs", id)
	logs.Env = append(os.Environ(), "DOCKER_HOST="+b.engine.Host)
	logs.Stdout, logs.Stderr = &out, &errs
	err = logs.Run()
	return out.String(), errs.String(), err
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// read returns every row of a measurement between two services.
func (b *bed) read(measurement, client, server string) (out []*decode.Row) {
	b.t.Helper()
	f, err := os.Open(b.rows)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	err = decode.Read(f, func(r *decode.Row) error {
		if r.Tags["client"] == "shop/"+client && r.Tags["server"] == "shop/"+server {
			out = append(out, r)
		}
		return nil
	}, measurement)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// settle waits until three more intervals are written.
func (b *bed) settle() {
	b.t.Helper()
	last := func() (at int64) {
		f, err := os.Open(b.rows)
		if err != nil {
			return 0
		}
		defer f.Close()
		_ = decode.Read(f, func(r *decode.Row) error { at = max(at, r.Time); return nil }, "weir_self")
		return at
	}
	from := last()
	probe.Until(b.t, patience, "three more intervals", func() error {
		if now := last(); now-from < 3e9 {
			return fmt.Errorf("%d ns so far", now-from)
		}
		return nil
	})
}
