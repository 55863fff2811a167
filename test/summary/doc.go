// Command summary reads the event streams of `go test -json` that the test
// levels leave in a directory and says which levels ran, what was skipped and
// why, and whether a skip was one of a capability that should have been there.
//
//	summary show LEVEL      copies stdin to out/test/LEVEL.json and shows results
//	                        as they come: packages, failures, skips
//	summary report          judges all levels of out/test; exit status 1 on failure
//
// WEIR_REQUIRE lists the capabilities that this machine must have (root, bpf, docker,
// compose, containerd, podman, lxc, influxdb, kapacitor, alertmanager, kafka, telegraf,
// kernels, services): a skip whose reason names one of them is a failure.
package main
