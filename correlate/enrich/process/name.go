package process

import "strings"

// KernelName is the name of all kernel threads: there are hundreds, and what
// they do on a socket is the kernel's business as a whole.
const KernelName = "kernel"

// commLen is how much of a name the kernel keeps (TASK_COMM_LEN less the NUL).
const commLen = 15

// nameArgs is how many arguments are candidates for the name: an interpreter's
// script may stand behind options (#!/usr/bin/python3 -u).
const nameArgs = 4

// executableName is the stable name of a program: the same whether it was seen
// by its exec event or found in /proc later, when its title may have changed.
//
// The candidates are the file given to execve, the first arguments and the
// executable itself, and the first that is what comm was set to at exec wins:
// that is the script for a script, the applet for a busybox link. Where none is
// (a descriptor was executed, or comm was changed since), it is the executable.
//
// filename is empty where it is not known; exe is a path or a base name; argv is
// NUL-separated.
func executableName(comm, filename, exe, argv string) string {
	exe = strings.TrimSuffix(exe, " (deleted)")
	exeBase := base(exe)
	memfd := strings.HasPrefix(strings.TrimPrefix(exe, "/"), "memfd:")
	first, rest, _ := strings.Cut(argv, "\x00")
	// /proc/self/exe and /dev/fd/N say nothing, and comm is only their last element.
	if !isDescriptor(comm) {
		if f := base(filename); matches(f, comm) {
			return f
		}
		if f := base(title(first)); matches(f, comm) {
			return f
		}
		for range nameArgs - 1 {
			var arg string
			arg, rest, _ = strings.Cut(rest, "\x00")
			if f := base(arg); matches(f, comm) {
				return f
			}
		}
	}
	switch {
	case exeBase != "" && !memfd:
		return exeBase
	case base(title(first)) != "":
		return base(title(first))
	}
	return comm
}

// isDescriptor says whether comm is what the kernel makes of executing
// /proc/self/exe or an open descriptor.
func isDescriptor(comm string) bool {
	if comm == "exe" {
		return true
	}
	for i := range len(comm) {
		if comm[i] < '0' || comm[i] > '9' {
			return false
		}
	}
	return comm != ""
}

// matches compares a candidate with comm, which is cut to 15 octets.
func matches(name, comm string) bool {
	return name != "" && name[:min(len(name), commLen)] == comm
}

// title undoes "nginx: worker process", which programs write over their first
// argument.
func title(arg string) string {
	head, _, _ := strings.Cut(arg, ": ")
	return head
}

func base(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}
