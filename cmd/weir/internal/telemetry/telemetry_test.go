package telemetry

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"ready"`, "text": "msg=ready"} {
		var b bytes.Buffer
		log := NewLog(&b, "info", format)
		log.Debug("hidden")
		log.Info("ready")
		if s := b.String(); !strings.Contains(s, want) || strings.Contains(s, "hidden") {
			t.Errorf("%s: %q", format, s)
		}
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := Notify(path, "READY=1"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if err := Notify("", "READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

func TestUsageIsPlausible(t *testing.T) {
	u := ReadUsage()
	if u.RSS < 1<<20 || u.CPU < 0 {
		t.Errorf("%+v", u)
	}
}
