package process

import (
	"strings"
	"testing"
)

func TestExecutableName(t *testing.T) {
	argv := func(a ...string) string { return strings.Join(a, "\x00") + "\x00" }
	for _, c := range []struct {
		what, comm, filename, exe, argv, want string
	}{
		{"curl by event", "curl", "/usr/bin/curl", "curl", argv("curl", "http://x"), "curl"},
		{"curl by /proc", "curl", "", "/usr/bin/curl", argv("curl", "http://x"), "curl"},
		{"nginx by event", "nginx", "/usr/sbin/nginx", "nginx", argv("/usr/sbin/nginx", "-g", "daemon off;"), "nginx"},
		{"nginx worker by /proc", "nginx", "", "/usr/sbin/nginx", argv("nginx: worker process"), "nginx"},
		{"postgres backend", "postgres", "", "/usr/lib/postgresql/15/bin/postgres", argv("postgres: app db 10.0.0.1(4711) idle"), "postgres"},
		{"script by event", "tool.py", "/usr/local/bin/tool.py", "python3.11", argv("/usr/bin/python3", "/usr/local/bin/tool.py"), "tool.py"},
		{"script by /proc", "tool.py", "", "/usr/bin/python3.11", argv("/usr/bin/python3", "/usr/local/bin/tool.py"), "tool.py"},
		{"script with option by event", "tool.py", "./tool.py", "python3.11", argv("/usr/bin/python3", "-u", "./tool.py"), "tool.py"},
		{"script with option by /proc", "tool.py", "", "/usr/bin/python3.11", argv("/usr/bin/python3", "-u", "./tool.py"), "tool.py"},
		{"env script by event", "python3", "/usr/bin/python3", "python3.11", argv("python3", "/x/tool.py"), "python3"},
		{"env script by /proc", "python3", "", "/usr/bin/python3.11", argv("python3", "/x/tool.py"), "python3"},
		{"gunicorn title", "gunicorn", "", "/usr/bin/python3.11", argv("gunicorn: master [app]"), "gunicorn"},
		{"busybox link by event", "wget", "/usr/bin/wget", "busybox", argv("wget", "-q", "http://x"), "wget"},
		{"busybox link by /proc", "wget", "", "/bin/busybox", argv("wget", "-q", "http://x"), "wget"},
		{"busybox applet of its shell by event", "exe", "/proc/self/exe", "busybox", argv("wget", "http://x"), "busybox"},
		{"busybox applet of its shell by /proc", "exe", "", "/bin/busybox", argv("wget", "http://x"), "busybox"},
		{"java by event", "java", "/usr/bin/java", "java", argv("java", "-jar", "/opt/app.jar"), "java"},
		{"java by /proc", "java", "", "/usr/lib/jvm/bin/java", argv("java", "-jar", "/opt/app.jar"), "java"},
		{"long name by event", "systemd-network", "/lib/systemd/systemd-networkd", "systemd-networkd", argv("/lib/systemd/systemd-networkd"), "systemd-networkd"},
		{"long name by /proc", "systemd-network", "", "/usr/lib/systemd/systemd-networkd", argv("/lib/systemd/systemd-networkd"), "systemd-networkd"},
		{"runc init by event", "exe", "/proc/self/exe", "runc", argv("runc", "init"), "runc"},
		{"runc init by /proc", "runc:[2:INIT]", "", "/usr/sbin/runc", argv("runc", "init"), "runc"},
		{"runc init from memory", "6", "/proc/self/fd/6", "memfd:runc_cloned:/proc/self/exe", argv("runc", "init"), "runc"},
		{"runc init from memory by /proc", "6", "", "/memfd:runc_cloned:/proc/self/exe (deleted)", argv("runc", "init"), "runc"},
		{"fexecve by event", "3", "/dev/fd/3", "agent", argv("whatever"), "agent"},
		{"fexecve by /proc", "3", "", "/opt/agent", argv("whatever"), "agent"},
		{"comm changed by prctl", "MainThread", "", "/usr/bin/node", argv("node", "server.js"), "node"},
		{"deleted", "app", "", "/opt/app (deleted)", argv("/opt/app"), "app"},
		{"deleted and renamed", "x", "", "/opt/app (deleted)", argv("y"), "app"},
		{"login shell by event", "bash", "/bin/bash", "bash", argv("-bash"), "bash"},
		{"login shell by /proc", "bash", "", "/usr/bin/bash", argv("-bash"), "bash"},
		{"empty cmdline", "agent", "", "/opt/agent", "", "agent"},
		{"only comm", "agent", "", "", "", "agent"},
		{"nothing", "", "", "", "", ""},
	} {
		if got := executableName(c.comm, c.filename, c.exe, c.argv); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}
