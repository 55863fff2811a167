// Package cri names containers and pods by the Kubernetes Container Runtime
// Interface (CRI v1) of containerd and CRI-O. Where the runtime serves no events
// (containerd before 1.7) it lists everything again when an id is asked for that
// it does not know.
package cri
