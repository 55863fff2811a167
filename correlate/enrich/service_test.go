package enrich

import (
	"strings"
	"testing"
)

func TestServiceName(t *testing.T) {
	const id = "09c2f9efacb4a8bfa678c48727f027a08d1c6fc4f89d747b01abdd1ad35eca64"
	for unit, want := range map[string]string{
		"nginx.service":                "nginx",
		"docker.service":               "docker", // docker-proxy and dockerd
		"cron.service":                 "cron",
		"systemd-resolved.service":     "systemd-resolved",
		"run-once.service":             "run-once",
		"run-reports.service":          "run-reports",
		"run-update.service":           "run-update",
		"my.service.service":           "my.service",
		"backup-20261122.service":      "backup-20261122",
		"feedface.service":             "feedface",
		"dev-facade-cafe-beef.service": "dev-facade-cafe-beef",
		"postgresql@15-main.service":   "postgresql@15-main",
		"wg-quick@wg0.service":         "wg-quick@wg0",
		"getty@tty1.service":           "getty@tty1",
		"openvpn@10.service":           "openvpn@10",
		"vpn@2001:db8::1.service":      "vpn@2001:db8::1",
		"rack@4-7.service":             "rack@4-7",
		// Accept=yes: an instance per connection
		"ssh@12-192.0.2.7:22-198.51.100.9:50312.service":   "ssh",
		"ssh@1-2001:db8::1:22-2001:db8::2:50312.service":   "ssh",
		"systemd-coredump@3-4711-0.service":                "systemd-coredump",
		"echo@7-318-4711-1000.service":                     "echo", // with the socket's cookie, systemd ≥ 254
		"echo@7-unknown.service":                           "echo",
		"systemd-nspawn@web.service":                       "systemd-nspawn@web",
		"user@1000.service":                                "",
		"user@1000.service/nginx.service":                  "",
		"session-3.scope":                                  "",
		"init.scope":                                       "",
		"app-gnome-firefox-4711.scope":                     "",
		"run-u12.scope":                                    "",
		"run-u12.service":                                  "",
		"run-p4711-i4712.service":                          "",
		"run-r0123456789abcdef0123456789abcdef.service":    "",
		"dbus-:1.10-org.freedesktop.problems@0.service":    "",
		id + ".service":                                    "", // podman's health check
		id[:40] + "-" + id[:16] + ".service":               "",
		"job-6fa459ea-ee8a-3ca4-894e-db77e160355e.service": "",
		"vm@6fa459ea-ee8a-3ca4-894e-db77e160355e.service":  "vm",
		"nfs.mount":  "",
		"ssh.socket": "",
		"":           "",
		".service":   "",
		"@.service":  "",
	} {
		got, ok := serviceName(unit)
		if !ok {
			got = ""
		}
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", unit, got, ok, want)
		}
	}
}

// However many connections, jobs and logins there are, the names stay few.
func FuzzServiceName(f *testing.F) {
	f.Add("nginx.service")
	f.Add("ssh@12-192.0.2.7:22-198.51.100.9:50312.service")
	f.Add("run-r0123456789abcdef.service")
	f.Fuzz(func(t *testing.T, unit string) {
		name, ok := serviceName(unit)
		if !ok {
			return
		}
		if name == "" || !strings.HasPrefix(unit, name) {
			t.Fatalf("%q: %q, %v", unit, name, ok)
		}
		if random(name) {
			t.Fatalf("%q: random name %q", unit, name)
		}
	})
}
