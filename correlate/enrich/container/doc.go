// Package container says which container a control group belongs to: the cgroup
// table gives the id, a container engine the name. It joins its sub-packages
// cgroup and docker and adds what happens in between: an id whose name is not
// known yet.
package container
