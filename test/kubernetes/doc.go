// Package kubernetes gives tests real pods without Kubernetes: a containerd of its
// own (socket, data, mounts and network apart from the host's) is asked by CRI for
// what the kubelet would ask for, with the same control groups, labels and
// annotations. A pod runs in half a second, and nothing is left behind. Images are
// made of the static test/workload: no registry is needed.
package kubernetes
