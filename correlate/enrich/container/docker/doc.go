// Package docker learns the names of containers from a Docker Engine, or from
// Podman's service, which speaks the same API.
//
// It listens to the event stream, so that a container is named the moment it is
// created, however short it lives, and asks for the list and for addresses
// beside it. It needs the socket only; nothing is installed, and the two GETs and
// the stream need no library. Lookups read memory and never wait for the engine.
package docker
