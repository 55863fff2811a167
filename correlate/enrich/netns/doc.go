// Package netns knows the network namespaces of this host that have a name: those
// of `ip netns add`, which tools like CNI make too.
package netns
