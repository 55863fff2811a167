// Package cgroup says which control group a kernel id stands for, and what its
// path tells: the container runtime, the container's id, the Kubernetes pod and
// the systemd unit.
//
// A cgroup's id is the inode of its directory, apart in each hierarchy. The
// Table is filled by the kernel's events and by walks of the mounted
// hierarchies; Parse alone needs neither.
package cgroup
