package cgroup

import "strings"

// Runtime is what made a container, as far as the path tells.
type Runtime string

// The runtimes whose layouts Parse knows.
const (
	None       Runtime = ""
	Docker     Runtime = "docker"
	Containerd Runtime = "containerd"
	CRIO       Runtime = "cri-o"
	Podman     Runtime = "podman"
	Kubernetes Runtime = "kubernetes" // cgroupfs driver: the path does not name the runtime
	LXC        Runtime = "lxc"
	Nspawn     Runtime = "nspawn"
	Unknown    Runtime = "unknown" // a 64 hex digit id in a place no known runtime uses
)

// Identity is what a cgroup path says.
type Identity struct {
	Runtime Runtime
	// ID is the container: 64 hex digits, or a name for LXC and nspawn. Of nested
	// containers it is the outermost, the one this host's runtime made: what is
	// below it is written by the container itself and proves nothing.
	ID string
	// Pod is the Kubernetes pod UID with dashes, empty outside Kubernetes.
	Pod string
	// Unit is the systemd unit; a unit of a user's own manager is written
	// user@1000.service/name.service, since users name theirs as they like.
	Unit string
	// Rootless is true in a user's own part of the tree, where any path can be made
	// up by that user: a system runtime never puts a container there. A container
	// that is known by its name only is user-1000/name then.
	Rootless bool
	// User is the number of that user.
	User string
}

// InContainer says whether the path is inside a container.
func (i Identity) InContainer() bool { return i.ID != "" }

// Named says whether the ID is the container's name.
func (i Identity) Named() bool { return i.Runtime == LXC || i.Runtime == Nspawn }

// Parse reads a path from the root of its hierarchy. It never fails: what it
// does not know is left empty. The strings of the result share path's memory.
func Parse(path string) Identity {
	var id Identity
	var parent, user string
	for rest := path; rest != ""; {
		var seg string
		seg, rest, _ = strings.Cut(rest, "/")
		if seg == "" {
			continue
		}
		if user == "" && isUser(seg, parent) {
			user = strings.TrimSuffix(strings.TrimSuffix(seg, ".slice"), ".service")
			if id.ID == "" { // inside a container it is the container's own
				id.Rootless, id.User = true, user[len("user-"):]
			}
		}
		if id.ID == "" {
			id.segment(seg, parent, rest)
			if id.Rootless && id.Named() {
				id.ID = user + "/" + id.ID
			}
		}
		id.unit(seg)
		parent = seg
	}
	return id
}

// top says whether a group with this identity is what the identity says, rather than
// something inside of it.
func (g *Group) top() bool {
	above := Parse(g.Path[:max(strings.LastIndexByte(g.Path, '/'), 0)])
	switch {
	case above.InContainer():
		return false
	case g.InContainer():
		return true
	}
	return strings.HasSuffix(g.Unit, ".service") && above.Unit != g.Unit
}

// segment looks at one path element above any container found so far.
func (id *Identity) segment(seg, parent, rest string) {
	if uid := podUID(seg); uid != "" {
		id.Pod = uid
	}
	rt, cid := container(seg, parent, rest)
	if cid == "" {
		return
	}
	if id.Pod != "" && (rt == Unknown || rt == None) {
		rt = Kubernetes
	}
	id.Runtime, id.ID, id.Unit = rt, cid, ""
}

// isUser says whether a path element is where a user's own part of the tree
// begins: user.slice/user-1000.slice, or the user's manager without it.
func isUser(seg, parent string) bool {
	if strings.HasPrefix(seg, "user@") {
		return strings.HasSuffix(seg, ".service")
	}
	return parent == "user.slice" && strings.HasPrefix(seg, "user-") && strings.HasSuffix(seg, ".slice")
}

// container returns the container a path element stands for, if any.
func container(seg, parent, rest string) (Runtime, string) {
	if isID(seg) {
		if parent == "libpod_parent" && strings.HasPrefix(rest, "libpod-") {
			return None, "" // a pod of Podman's, its containers are below
		}
		return bareRuntime(parent), seg
	}
	// kubepods-burstable-podX.slice:cri-containerd:ID, what a runtime without the
	// systemd driver makes of a systemd style parent.
	if head, cid, ok := cutLast(seg, ":"); ok && isID(cid) {
		_, prefix, _ := cutLast(head, ":")
		return prefixRuntime(prefix), cid
	}
	name := strings.TrimSuffix(seg, ".scope")
	if prefix, cid, ok := cutLast(name, "-"); ok && isID(cid) {
		// conmon watches a container from outside.
		if strings.HasSuffix(prefix, "conmon") {
			return None, ""
		}
		return prefixRuntime(prefix), cid
	}
	return machine(seg, name, parent, rest)
}

// machine handles the runtimes that name a cgroup after the container's name.
func machine(seg, name, parent, rest string) (Runtime, string) {
	// LXC writes name-1 where a group of that name was left behind: from here that
	// cannot be told from a container of that name.
	if n, ok := strings.CutPrefix(seg, "lxc.payload."); ok {
		return LXC, n
	}
	if parent == "lxc" || parent == "lxc.payload" {
		return LXC, seg
	}
	if n, ok := strings.CutPrefix(name, "machine-"); ok && parent == "machine.slice" && name != seg {
		n = unescape(n)
		if strings.HasPrefix(n, "qemu-") { // a virtual machine, its processes are the host's
			return None, ""
		}
		return Nspawn, n
	}
	if n, ok := strings.CutPrefix(seg, "systemd-nspawn@"); ok && !strings.HasPrefix(rest, "supervisor") {
		if n, ok = strings.CutSuffix(n, ".service"); ok {
			return Nspawn, unescape(n)
		}
	}
	return None, ""
}

func bareRuntime(parent string) Runtime {
	switch parent {
	case "docker":
		return Docker
	case "default", "k8s.io", "moby", "nerdctl":
		return Containerd
	case "libpod_parent":
		return Podman
	}
	return Unknown
}

func prefixRuntime(prefix string) Runtime {
	switch prefix {
	case "docker":
		return Docker
	case "cri-containerd", "nerdctl", "containerd":
		return Containerd
	case "crio":
		return CRIO
	case "libpod", "libpod-payload":
		return Podman
	}
	return Unknown
}

// podUID reads pod<uid> (cgroupfs) and kubepods[-qos]-pod<uid>.slice (systemd).
func podUID(seg string) string {
	var uid string
	if s, ok := strings.CutPrefix(seg, "kubepods-"); ok {
		if i := strings.Index(s, "pod"); i >= 0 && (i == 0 || s[i-1] == '-') {
			uid = s[i+3:]
		}
		uid, _, _ = strings.Cut(uid, ".slice")
		uid = strings.ReplaceAll(uid, "_", "-")
	} else if s, ok := strings.CutPrefix(seg, "pod"); ok {
		uid = s
	}
	// A UUID, or for static pods 32 hex digits.
	if len(uid) != 36 && len(uid) != 32 {
		return ""
	}
	for i := range len(uid) {
		if !isHex(uid[i]) && uid[i] != '-' {
			return ""
		}
	}
	return uid
}

// unit takes the first systemd unit of the path, and below a user's manager the
// last.
func (id *Identity) unit(seg string) {
	if !isUnit(seg) || (id.ID != "" && strings.Contains(seg, id.ID)) || (id.Named() && id.Unit == "" && namesMachine(seg)) {
		return
	}
	manager, _, _ := strings.Cut(id.Unit, "/")
	switch {
	case id.Unit == "":
		id.Unit = seg
	case strings.HasPrefix(manager, "user@") && seg != "init.scope":
		id.Unit = manager + "/" + seg
	}
}

func namesMachine(seg string) bool {
	return strings.HasPrefix(seg, "machine-") || strings.HasPrefix(seg, "systemd-nspawn@")
}

func isUnit(seg string) bool {
	i := strings.LastIndexByte(seg, '.')
	if i <= 0 {
		return false
	}
	switch seg[i+1:] {
	case "service", "scope", "mount", "socket", "swap":
		return true
	}
	return false
}

// unescape undoes systemd's \x2d.
func unescape(s string) string { return strings.ReplaceAll(s, `\x2d`, "-") }

func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
