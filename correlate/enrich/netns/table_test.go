package netns

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/machine"
)

// mountAt gives a namespace of this process a name, like ip netns does.
func mountAt(t *testing.T, of, path string) uint32 {
	t.Helper()
	machine.Root(t, "mounts a namespace")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(of, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("mount a namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(of, &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	tab := New(Config{Dir: dir, MaxNames: 2})
	inode := mountAt(t, "/proc/self/ns/net", filepath.Join(dir, "blue"))
	mountAt(t, "/proc/self/ns/net", filepath.Join(dir, "red")) // a second name of it
	uts := mountAt(t, "/proc/self/ns/uts", filepath.Join(dir, "odd\n"+strings.Repeat("n", 80)))
	mountAt(t, "/proc/self/ns/ipc", filepath.Join(dir, "zz-too-many"))
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if tab.Name(inode) != "" {
		t.Error("known before it was read")
	}
	tab.Reread()
	if got := tab.Name(inode); got != "blue" {
		t.Errorf("%q", got)
	}
	if got := tab.Name(uts); len(got) != maxName || !strings.HasPrefix(got, "odd?nnn") {
		t.Errorf("%q", got)
	}
	if s := tab.Stats(); s.Names != 2 || s.Refused != 1 || s.Errors != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	tab := New(Config{Dir: dir})
	if tab.Reread(); tab.Stats().Errors != 0 {
		t.Error("a host without named namespaces is no error")
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if tab.Reread(); tab.Stats().Errors != 1 {
		t.Errorf("%+v", tab.Stats())
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (Config{Reread: -1}).Validate() == nil {
		t.Error("negative reread accepted")
	}
}
