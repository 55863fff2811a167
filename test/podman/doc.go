// Package podman gives tests a real Podman: `podman system service` with its own
// storage and socket, in a network namespace and mounts of its own, as root or as
// an ordinary user, and gone when the test ends. Its one image is the static
// test/workload.
package podman
