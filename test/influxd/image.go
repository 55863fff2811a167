package influxd

import (
	_ "embed"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/machine"
)

//go:embed entrypoint.sh
var entrypoint string

// Image makes an image of the InfluxDB 2 that build.sh makes, with what docker-compose.yml
// wants of InfluxData's: the influx command, bash and its tools, a user influxdb, and an
// entrypoint that sets up. Without one of them it skips t, or fails it when WEIR_REQUIRE
// contains "compose".
func Image(t testing.TB, e *dockerd.Engine, name string) {
	t.Helper()
	server, cli, bash := machine.Find("influxd-"+V2), Command(), machine.Find("bash")
	for what, path := range map[string]string{"InfluxDB: test/influxd/build.sh " + V2: server, "the influx command: test/influxd/cli.sh": cli, "bash": bash} {
		if path == "" {
			machine.Missing(t, "compose", "no image of InfluxDB without "+what)
		}
	}
	files, links := dockerd.Applets(t)
	for at, from := range map[string]string{"/bin/influxd": server, "/bin/influx": cli, "/bin/bash": bash} {
		files[at] = from
	}
	for _, dynamic := range []string{server, bash} {
		maps.Copy(files, dockerd.Libraries(t, dynamic))
	}
	dir := t.TempDir()
	for at, text := range map[string]string{"/entrypoint.sh": entrypoint, "/etc/group": "root:x:0:\ninfluxdb:x:1000:\n",
		"/etc/passwd": "root:x:0:0::/root:/bin/bash\ninfluxdb:x:1000:1000::/etc/influxdb2:/bin/bash\n"} {
		files[at] = filepath.Join(dir, filepath.Base(at))
		if err := os.WriteFile(files[at], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e.Import(t, name, files, links)
}
