#!/bin/bash
# boot.sh JOB…  runs every job as root under each kernel of $KERNELS, in one boot
# per kernel. A job is one word list: "NAME=BINARY arguments…", BINARY a static
# linux/amd64 executable. Output: $OUT/LABEL.log with the markers that init
# prints; kernels_test.go reads them and decides. Exit status 0 says only that
# every kernel was booted.
# boot.sh --fetch  only has the kernels in the cache.
#
# The kernels are Debian's cloud images, unpacked into $WEIR_CACHE/kernels from
# the mirror this machine already uses; nothing is installed.
# With ROOTFS (rootfs.sh makes one) the guest runs systemd from that disk, which is
# not written to, and the jobs run in a unit of it. JOB_ENV holds more NAME=value
# words for the jobs.
# Host packages: qemu-system-x86 busybox-static cpio kmod xz-utils zstd
# debian-archive-keyring.
set -euo pipefail

HERE=$(cd "$(dirname "$0")"; pwd)
CACHE=${WEIR_CACHE:-$HOME/.cache/weir}/kernels
OUT=${OUT:-$HERE/../../out/kernels}
# suite:label; the label is only a label, the test asserts uname -r.
KERNELS=${KERNELS:-bullseye-security:5.10 bookworm-security:6.1 trixie-security:6.12}
# What the tests need of a kernel that has it as modules.
MODULES=${MODULES:-sch_ingress cls_bpf act_bpf veth bridge dummy nf_conntrack nf_nat nf_conntrack_netlink tls gcm ghash-generic}
# Seconds for a whole boot (emulated: slow on a busy machine) and for one job.
BOOT_TIMEOUT=${BOOT_TIMEOUT:-900}
JOB_TIMEOUT=${JOB_TIMEOUT:-600}
MEMORY=${MEMORY:-1024}
ROOTFS=${ROOTFS:-}
# Which control groups there are: pure v2, unless the guest's systemd is told else.
CGROUPS=${CGROUPS:-cgroup_no_v1=all}
CPUS=${CPUS:-2}

die() { echo "boot.sh: $*" >&2; exit 2; }

# apt answers about suites this machine does not run, from a state of our own.
apt_options=(
	-o "Dir::State=$CACHE/apt" -o "Dir::State::status=$CACHE/apt/status"
	-o "Dir::State::lists=$CACHE/apt/lists" -o "Dir::Cache=$CACHE/apt/cache"
	-o "Dir::Etc=$CACHE/apt/etc" -o "Dir::Etc::Parts=$CACHE/apt/etc/apt.conf.d"
	-o "Dir::Etc::sourcelist=$CACHE/apt/etc/sources.list"
	-o APT::Sandbox::User=root -o Acquire::Languages=none
	-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
)

mirrors() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u | grep debian; }

apt_setup() {
	local key="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" main security kernel suite
	main=${MIRROR:-$(mirrors | grep -v security | head -1)}
	security=${MIRROR_SECURITY:-$(mirrors | grep security | head -1)}
	[ -n "$main" ] && [ -n "$security" ] || die "no Debian mirror in apt's sources: set MIRROR and MIRROR_SECURITY"
	mkdir -p "$CACHE"/apt/{lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d,etc/sources.list.d}
	: > "$CACHE/apt/status"
	for kernel in $KERNELS; do
		suite=${kernel%%:*}
		case $suite in
			*-security) echo "deb $key $security $suite main" ;;
			*) echo "deb $key $main $suite main" ;;
		esac
	done > "$CACHE/apt/etc/sources.list"
	apt-get "${apt_options[@]}" -qq update
}

# fetch SUITE: unpacks the suite's newest cloud kernel; prints its version.
# Without a network the cached one serves.
fetch() {
	local suite=$1 dir=$CACHE/$1 meta image version packages p
	meta=$(apt-cache "${apt_options[@]}" madison linux-image-cloud-amd64 | awk -v s="$suite" '$0 ~ " " s "/" {print $3; exit}')
	if [ -z "$meta" ]; then
		[ -s "$dir/.version" ] || die "no linux-image-cloud-amd64 in $suite and none cached in $dir"
		cat "$dir/.version"
		return
	fi
	image=$(apt-cache "${apt_options[@]}" show "linux-image-cloud-amd64=$meta" | sed -n 's/^Depends:.*\(linux-image-[^ ,]*\).*/\1/p' | head -1)
	version=${image#linux-image-}
	if [ "$(cat "$dir/.version" 2>/dev/null)" != "$version" ]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		packages=$image
		# split packages since 7.x
		if apt-cache "${apt_options[@]}" show "$image=$meta" | grep -q "linux-binary-$version"; then
			packages="linux-binary-$version linux-modules-$version linux-base-$version"
		fi
		(
			cd "$dir"
			for p in $packages; do apt-get "${apt_options[@]}" -qq download "$p=$meta"; done
			for p in *.deb; do dpkg -x "$p" .; done
			rm -f ./*.deb
		) >&2
		if [ ! -d "$dir/usr/lib/modules" ]; then
			mkdir -p "$dir/usr/lib"
			mv "$dir/lib/modules" "$dir/usr/lib/"
		fi
		[ -f "$dir/usr/lib/modules/$version/vmlinuz" ] || mv "$dir/boot/vmlinuz-$version" "$dir/usr/lib/modules/$version/vmlinuz"
		depmod -b "$dir/usr" "$version"
		echo "$version" > "$dir/.version"
	fi
	echo "$version"
}

# modules DIR VERSION TARGET: copies $MODULES and what they need, uncompressed,
# in load order. A module that the kernel has built in or does not have is left out.
modules() {
	local dir=$1 version=$2 target=$3 m file base
	for m in $MODULES; do
		modprobe -d "$dir/usr" -S "$version" --show-depends "$m" 2>/dev/null | awk '/^insmod/ {print $2}' || true
	done | awk '!seen[$0]++' | while read -r file; do
		base=$(basename "$file")
		case $base in
			*.xz) base=${base%.xz}; xz -dc "$file" > "$target/$base" ;;
			*.zst) base=${base%.zst}; zstd -qdc "$file" > "$target/$base" ;;
			*) cp "$file" "$target/" ;;
		esac
		echo "$base"
	done > "$target/order"
}

# initramfs SUITE VERSION LABEL FILE JOB…
initramfs() {
	local suite=$1 version=$2 label=$3 file=$4 root job name rest
	shift 4
	root=$(mktemp -d "$WORK/root.XXXXXX")
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,m,jobs.d,etc}
	cp "$(command -v busybox)" "$root/bin/busybox"
	if [ -n "$ROOTFS" ]; then
		install -m 755 "$HERE/init-systemd" "$root/init"
		# its disk, systemd, and a service by IPVS as kube-proxy has it
		MODULES="virtio_pci virtio_blk autofs4 ip_vs ip_vs_rr br_netfilter nft_compat nft_chain_nat xt_MASQUERADE $MODULES"
	else
		install -m 755 "$HERE/init" "$root/init"
	fi
	for job in "$@"; do
		name=${job%%=*}
		read -r binary rest <<< "${job#*=}"
		install -m 755 "$binary" "$root/jobs.d/$name"
		echo "$name $rest"
	done > "$root/jobs"
	echo "export JOB_TIMEOUT=$JOB_TIMEOUT WEIR_TEST_KERNEL=$label ${JOB_ENV:-}" > "$root/env"
	modules "$CACHE/$suite" "$version" "$root/m"
	(cd "$root"; find . | cpio --quiet -o -H newc) > "$file"
	rm -rf "$root"
}

# fetch_all leaves each suite's version in $CACHE/SUITE/.version. Others that fetch wait.
fetch_all() {
	local kernel
	mkdir -p "$CACHE"
	exec 8> "$CACHE/.lock"
	flock 8
	apt_setup || echo "boot.sh: apt update failed, using what is cached" >&2
	for kernel in $KERNELS; do
		fetch "${kernel%%:*}" > /dev/null
	done
	exec 8>&-
}

if [ "${1:-}" = --fetch ]; then
	fetch_all
	exit
fi
[ $# -gt 0 ] || die "usage: boot.sh NAME=BINARY' arguments'…"
for tool in qemu-system-x86_64 busybox cpio depmod xz zstd apt-get; do
	command -v "$tool" > /dev/null || die "$tool is missing: apt-get install qemu-system-x86 busybox-static cpio kmod xz-utils zstd"
done
for job in "$@"; do
	read -r binary _ <<< "${job#*=}"
	[ -x "$binary" ] || die "job ${job%%=*}: $binary is not an executable file"
done

mkdir -p "$OUT"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/weir-kernels.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
fetch_all
disk=()
[ -z "$ROOTFS" ] || disk=(-drive "file=$ROOTFS,format=raw,if=virtio,snapshot=on")
for kernel in $KERNELS; do
	suite=${kernel%%:*} label=${kernel#*:} start=$SECONDS
	version=$(cat "$CACHE/$suite/.version")
	initramfs "$suite" "$version" "$label" "$WORK/initramfs" "$@"
	prepared=$SECONDS
	# q35 and not microvm: the latter hangs when emulated.
	timeout -k 5 "$BOOT_TIMEOUT" qemu-system-x86_64 \
		-accel tcg,thread=multi -machine q35 -cpu qemu64 -smp "$CPUS" -m "$MEMORY" \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio "${disk[@]}" \
		-kernel "$CACHE/$suite/usr/lib/modules/$version/vmlinuz" -initrd "$WORK/initramfs" \
		-append "console=ttyS0 quiet loglevel=3 panic=-1 $CGROUPS apparmor=0 random.trust_cpu=on rdinit=/init systemd.show_status=0 systemd.log_level=warning" \
		< /dev/null 2>&1 | tr -d '\r' > "$OUT/$label.log" || true
	echo "$label: $version, prepared in $((prepared - start)) s, ran in $((SECONDS - prepared)) s"
done
