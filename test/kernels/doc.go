// Package kernels runs the tests that need a kernel of their own, and weir
// itself, under each kernel that Weir supports, emulated by qemu.
//
// Every TestKernel… function in the tree takes part: its package's test binary
// is built static, put into the guest's initramfs together with weir and run as
// root on pure cgroup v2. Such a test must not need testdata or other programs
// (the guest has only busybox). The environment variable WEIR_TEST_KERNEL names
// the guest.
//
// TestSystemd boots more guests, from a disk with systemd (rootfs.sh, cached),
// and runs the cases of test/cases there whose names end in Systemd.
//
// boot.sh boots, init runs inside the guest, this package builds the jobs and
// judges their output. It takes a minute or two and therefore runs only with
// WEIR_TEST_KERNELS=1 (make vm-test).
package kernels
