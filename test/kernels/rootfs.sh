#!/bin/bash
# rootfs.sh  makes the disk of the guest that has systemd as its first process,
# once (four minutes, then cached), and prints the file's name. Debian minbase
# with what the tests start; nothing of weir is in it.
# Host packages: debootstrap e2fsprogs.
set -euo pipefail

CACHE=${WEIR_CACHE:-$HOME/.cache/weir}/kernels
SUITE=${SYSTEMD_SUITE:-bookworm}
PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,systemd-container,iproute2,ipvsadm,iptables
IMAGE=$CACHE/systemd-$SUITE-3.ext4 # count up when what is in it changes

mkdir -p "$CACHE"
exec 8> "$CACHE/.rootfs.lock" # others that make it wait
flock 8
if [ ! -s "$IMAGE" ]; then
	for tool in debootstrap mke2fs; do
		command -v $tool > /dev/null || { echo "rootfs.sh: $tool is missing: apt-get install debootstrap e2fsprogs" >&2; exit 2; }
	done
	mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u | grep debian | grep -v security | head -1)}
	root=$(mktemp -d "$CACHE/rootfs.XXXXXX")
	trap 'rm -rf "$root" "$IMAGE.new"' EXIT
	debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" "$mirror" >&2
	rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/{doc,man,locale,info}
	# No login, no timers, no journal on disk: what costs time under emulation.
	for unit in getty@.service serial-getty@.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
		e2scrub_all.timer fstrim.timer systemd-timesyncd.service e2scrub_reap.service systemd-tmpfiles-clean.timer; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	: > "$root/etc/machine-id"
	echo weir-systemd > "$root/etc/hostname"
	chroot "$root" useradd --uid 1000 --create-home someone
	mkdir -p "$root/var/lib/systemd/linger"
	: > "$root/var/lib/systemd/linger/someone" # its manager runs without a login
	mke2fs -q -t ext4 -L weir -d "$root" "$IMAGE.new" 1G >&2 # stdout is the name of the disk
	mv "$IMAGE.new" "$IMAGE"
fi
echo "$IMAGE"
