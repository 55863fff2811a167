package main

import (
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Inodes of the initial namespaces (include/linux/proc_ns.h).
const (
	initialPID    = 4026531836
	initialCgroup = 4026531835
)

// examineNamespaces says from where the probe sees the host: in namespaces of its
// own the kernel's events name processes, devices and groups that /proc, netlink
// and /sys/fs/cgroup show otherwise or not at all. proc is /proc.
func examineNamespaces(proc string) []check {
	pid := check{Area: "host", Name: "PID namespace", State: good, Detail: "the host's"}
	if nsInode(proc+"/self/ns/pid") != initialPID {
		pid.State, pid.Detail = limited, "not the host's: who holds the sockets that exist already is unknown, and users and full command lines of most processes"
		pid.Remedy = "run the container with --pid=host"
	}
	return []check{pid, examineNetworkNamespace(proc), examineCgroupNamespace(proc)}
}

// examineNetworkNamespace: only the host's namespace has the settings that hold
// for all of them, like dev_weight. That needs neither rights nor the host's PIDs.
func examineNetworkNamespace(proc string) check {
	c := check{Area: "host", Name: "network namespace", State: good, Detail: "the host's"}
	settings := proc + "/sys/net/core/"
	switch {
	case exists(settings + "dev_weight"):
	case exists(settings + "somaxconn"):
		c.State, c.Detail = limited, "not the host's: the host's devices, packets, NAT and addresses are not seen"
		c.Remedy = "run the container with --network=host"
	default:
		c.State, c.Detail = plain, "unknown: there are no settings in "+settings
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// examineCgroupNamespace: whether the host's hierarchies are found all the same
// is examineCgroups' business.
func examineCgroupNamespace(proc string) check {
	c := check{Area: "host", Name: "cgroup namespace", State: good, Detail: "the host's"}
	if own := nsInode(proc + "/self/ns/cgroup"); own != initialCgroup && own != 0 {
		c.State, c.Detail = plain, "not the host's"
	}
	return c
}

func nsInode(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// vantage is what examineNamespaces and examineCgroups found wanting.
func vantage() (wanting []check) {
	for _, c := range append(examineNamespaces("/proc"), examineCgroups()...) {
		if c.State == limited || c.State == bad {
			wanting = append(wanting, c)
		}
	}
	return wanting
}

// warnVantage says loudly what the probe does not see from where it runs: rows
// without owners must not come as a surprise.
func warnVantage(log *slog.Logger) {
	for _, c := range vantage() {
		log.Error("part of this host is out of sight: "+c.Name+": "+c.Detail, "remedy", c.Remedy)
	}
}

// vantageNames is the field of weir_info: "" when all of the host is in sight.
func vantageNames() string {
	var names []string
	for _, c := range vantage() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// hostNetNS is the inode of the namespace whose devices are metered.
func hostNetNS() uint32 { return uint32(nsInode("/proc/self/ns/net")) }

// knownHostNetNS is hostNetNS where that is known to be the host's, else 0.
func knownHostNetNS() uint32 {
	if examineNetworkNamespace("/proc").State != good {
		return 0
	}
	return hostNetNS()
}
