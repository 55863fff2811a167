// Package dockerd gives tests a real Docker Engine: one given by the environment
// (WEIR_TEST_DOCKER or DOCKER_HOST), else an own dockerd with its own data,
// socket, bridge and address pool, gone when the test ends. No registry is
// needed: images are imported from binaries of the host.
package dockerd
