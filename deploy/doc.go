// Package deploy holds no code, only what Weir is deployed with (Dockerfile,
// compose, systemd) and the tests of it.
package deploy
