package cgroup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	idA = "09c2f9efacb4a8bfa678c48727f027a08d1c6fc4f89d747b01abdd1ad35eca64"
	idB = "189811e2015581971f2fa650def0e169eeda826130fb374c52ff3c5263e8d963"
	pod = "11111111-1111-1111-1111-111111111111"
)

func TestParse(t *testing.T) {
	podU := strings.ReplaceAll(pod, "-", "_")
	for path, want := range map[string]Identity{
		"":  {},
		"/": {},
		"/process_api/8ac0141b3a21a00d658fa0ec0f2975c4": {},
		// Docker, both drivers, nested, with a systemd inside, buildkit
		"/docker/" + idA:                                             {Runtime: Docker, ID: idA},
		"/system.slice/docker-" + idA + ".scope":                     {Runtime: Docker, ID: idA},
		"/mygroup/docker-" + idA + ".scope/init":                     {Runtime: Docker, ID: idA},
		"/docker/" + idA + "/docker/" + idB:                          {Runtime: Docker, ID: idA},
		"/docker/" + idA + "/kubelet/kubepods/pod" + pod + "/" + idB: {Runtime: Docker, ID: idA},
		"/docker/" + idA + "/system.slice/nginx.service":             {Runtime: Docker, ID: idA, Unit: "nginx.service"},
		"/system.slice/docker.service":                               {Unit: "docker.service"},
		"/system.slice/docker.service/docker/" + idA:                 {Runtime: Docker, ID: idA},
		"/docker/buildkit/x3xfn4hb5a0jrnsrg0i4ov5zv":                 {},
		"/docker/" + strings.ToUpper(idA):                            {},
		// recorded in /work/shared/kubernetes/recorded: containerd, cgroupfs driver
		"/kubepods/besteffort/pod" + pod + "/" + idA:                     {Runtime: Kubernetes, ID: idA, Pod: pod},
		"/kubepods/burstable/pod" + pod + "/" + idB:                      {Runtime: Kubernetes, ID: idB, Pod: pod},
		"/kubepods/pod" + pod + "/" + idB:                                {Runtime: Kubernetes, ID: idB, Pod: pod},
		"/kubepods/burstable/pode398e528487b2164b6e9f7863b328c42/" + idA: {Runtime: Kubernetes, ID: idA, Pod: "e398e528487b2164b6e9f7863b328c42"},
		"/kubepods/burstable/pod" + pod:                                  {Pod: pod},
		"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + podU + ".slice/cri-containerd-" + idA + ".scope": {Runtime: Containerd, ID: idA, Pod: pod},
		"/kubepods.slice/kubepods-pod" + podU + ".slice/cri-containerd-" + idA + ".scope":                                      {Runtime: Containerd, ID: idA, Pod: pod},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + podU + ".slice/crio-" + idA + ".scope":             {Runtime: CRIO, ID: idA, Pod: pod},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + podU + ".slice/crio-" + idA + ".scope/container":   {Runtime: CRIO, ID: idA, Pod: pod},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + podU + ".slice/crio-conmon-" + idA + ".scope":      {Pod: pod, Unit: "crio-conmon-" + idA + ".scope"},
		"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + podU + ".slice/docker-" + idA + ".scope":         {Runtime: Docker, ID: idA, Pod: pod},
		"/system.slice/containerd.service/kubepods-besteffort-pod" + podU + ".slice:cri-containerd:" + idA:                     {Runtime: Containerd, ID: idA, Pod: pod},
		"/system.slice/containerd.service":        {Unit: "containerd.service"},
		"/default/" + idA:                         {Runtime: Containerd, ID: idA},
		"/k8s.io/" + idA:                          {Runtime: Containerd, ID: idA},
		"/system.slice/nerdctl-" + idA + ".scope": {Runtime: Containerd, ID: idA},
		// Podman, root and rootless
		"/machine.slice/libpod-" + idA + ".scope":                                           {Runtime: Podman, ID: idA},
		"/machine.slice/libpod-" + idA + ".scope/container":                                 {Runtime: Podman, ID: idA},
		"/machine.slice/libpod-conmon-" + idA + ".scope":                                    {Unit: "libpod-conmon-" + idA + ".scope"},
		"/libpod_parent/libpod-" + idA:                                                      {Runtime: Podman, ID: idA},
		"/libpod_parent/" + idB + "/libpod-" + idA:                                          {Runtime: Podman, ID: idA}, // in a pod, seen with 4.3
		"/machine.slice/machine-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope":      {Runtime: Podman, ID: idA},
		"/system.slice/web.service/libpod-payload-" + idA:                                   {Runtime: Podman, ID: idA},
		"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + idA + ".scope": {Runtime: Podman, ID: idA, Rootless: true, User: "1000"},
		// LXC, LXD, Proxmox, nspawn, libvirt
		"/lxc.payload.web":                          {Runtime: LXC, ID: "web"},
		"/lxc.payload.web/system.slice/ssh.service": {Runtime: LXC, ID: "web", Unit: "ssh.service"},
		"/lxc.monitor.web":                          {},
		"/lxc.monitor.web/system.slice/x.service":   {Unit: "x.service"},
		"/lxc.payload/web":                          {Runtime: LXC, ID: "web"},
		"/lxc.monitor/web":                          {},
		"/lxc.payload.":                             {},
		"/lxc.payload.web/lxc.payload.inner":        {Runtime: LXC, ID: "web"},
		"/lxc.payload.web/docker/" + idA:            {Runtime: LXC, ID: "web"},
		"/lxc/web":                                  {Runtime: LXC, ID: "web"},
		"/lxc/101/ns/init.scope":                    {Runtime: LXC, ID: "101", Unit: "init.scope"},
		"/user.slice/user-1000.slice/session-3.scope/lxc.payload.box":                         {Runtime: LXC, ID: "user-1000/box", Rootless: true, User: "1000"},
		"/user.slice/user-1000.slice/session-3.scope/lxc.monitor.box":                         {Unit: "session-3.scope", Rootless: true, User: "1000"},
		"/user.slice/user-1000.slice/user@1000.service/user.slice/run-u7.scope/lxc.payload.b": {Runtime: LXC, ID: "user-1000/b", Rootless: true, User: "1000"},
		"/user/1000.user/1.session/lxc/box":                                                   {Runtime: LXC, ID: "box"}, // cgmanager, before systemd
		"/lxc.payload.web/user.slice/user-0.slice/session-1.scope":                            {Runtime: LXC, ID: "web", Unit: "session-1.scope"},
		"/machine.slice/machine-web\\x2d1.scope":                                              {Runtime: Nspawn, ID: "web-1"},
		"/machine.slice/machine-web.scope/payload/system.slice/ssh.service":                   {Runtime: Nspawn, ID: "web", Unit: "ssh.service"},
		"/machine.slice/systemd-nspawn@web.service/payload":                                   {Runtime: Nspawn, ID: "web"},
		"/machine.slice/systemd-nspawn@web.service/supervisor":                                {Unit: "systemd-nspawn@web.service"},
		"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope":                                      {Unit: "machine-qemu\\x2d1\\x2dvm.scope"},
		// systemd units
		"/init.scope":                                                           {Unit: "init.scope"},
		"/system.slice/nginx.service":                                           {Unit: "nginx.service"},
		"/system.slice/nginx.service/sub":                                       {Unit: "nginx.service"},
		"/system.slice/a.service/b.service":                                     {Unit: "a.service"},
		"/system.slice/system-getty.slice/getty@tty1.service":                   {Unit: "getty@tty1.service"},
		"/system.slice/run-u12.scope":                                           {Unit: "run-u12.scope"},
		"/user.slice/user-1000.slice/session-3.scope":                           {Unit: "session-3.scope", Rootless: true, User: "1000"},
		"/user.slice/user-1000.slice/user@1000.service/init.scope":              {Unit: "user@1000.service", Rootless: true, User: "1000"},
		"/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service": {Unit: "user@1000.service/nginx.service", Rootless: true, User: "1000"},
		// a user's process that pretends to be somebody's container is still below its manager
		"/user.slice/user-1000.slice/user@1000.service/docker/" + idA: {Runtime: Docker, ID: idA, Rootless: true, User: "1000"},
	} {
		if diff := cmp.Diff(want, Parse(path)); diff != "" {
			t.Errorf("%s\n%s", path, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/docker/" + idA + "/docker/" + idB)
	f.Add("/system.slice/containerd.service/kubepods-podx.slice:cri-containerd:" + idA)
	f.Add("/machine.slice/machine-web\\x2d1.scope//..")
	f.Add("user@.service/.service/pod")
	f.Fuzz(func(t *testing.T, path string) {
		id := Parse(path)
		if (id.ID == "") != (id.Runtime == None) {
			t.Fatalf("%q: runtime %q with id %q", path, id.Runtime, id.ID)
		}
		if id.ID != "" && !id.Named() && !strings.Contains(path, id.ID) {
			t.Fatalf("%q: invented id %q", path, id.ID)
		}
		if id.Unit != "" && !strings.HasPrefix(id.Unit, "user@") && !strings.Contains(path, id.Unit) {
			t.Fatalf("%q: invented unit %q", path, id.Unit)
		}
	})
}

func TestParseMounts(t *testing.T) {
	const info = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
50 31 0:38 /docker/x /mnt/part\040of rw,relatime - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
garbage
`
	got, err := parseMounts(strings.NewReader(info), "memory")
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{Legacy, "/sys/fs/cgroup/memory", "", Relative},
		{Unified, "/mnt/part of", "/docker/x", Relative},
		{Unified, "/sys/fs/cgroup/unified", "", Relative},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChooseMounts(t *testing.T) {
	// Nothing but a hierarchy's root has this inode.
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if id, err := inode(dir); err == nil && id == rootInode {
			root = dir
		}
	}
	if root == "" {
		t.Skip("no control groups mounted here")
	}
	part := t.TempDir()
	for _, c := range []struct {
		what    string
		all     []Mount
		initial bool
		want    []Mount
	}{
		{"the nearest to the root", []Mount{{Unified, part, "/a/b", Relative}, {Unified, part, "/a", Relative}}, true, []Mount{{Unified, part, "/a", Part}}},
		{"the root before a part", []Mount{{Unified, part, "", Relative}, {Unified, root, "/../..", Relative}}, true, []Mount{{Unified, root, "", Whole}}},
		{"relative paths above a namespace", []Mount{{Unified, root, "/../..", Relative}}, false, []Mount{{Unified, root, "", Whole}}},
		{"a part inside a namespace lies about its place", []Mount{{Unified, part, "", Relative}, {Legacy, part, "/docker/x", Relative}}, false, []Mount{{Unified, part, "", Relative}, {Legacy, part, "/docker/x", Relative}}},
		{"one of each", []Mount{{Legacy, root, "", Relative}, {Unified, part, "/x", Relative}}, true, []Mount{{Unified, part, "/x", Part}, {Legacy, root, "", Whole}}},
	} {
		if diff := cmp.Diff(c.want, choose(c.all, c.initial)); diff != "" {
			t.Errorf("%s:\n%s", c.what, diff)
		}
	}
}
