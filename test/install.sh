#!/bin/bash
# install.sh  installs what the tests need beside Go, and says how long it takes.
# Debian packages through apt (as root or with sudo); a machine without apt gets
# the list and the tests skip what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# compilers: BPF objects, race detector
PACKAGES=(git make gcc libc6-dev clang-19 llvm-19 libbpf-dev)
# network namespaces, address translation, a second opinion on packets
PACKAGES+=(iproute2 iputils-ping iptables nftables slirp4netns conntrack ethtool tcpdump tshark)
# containers
PACKAGES+=(docker.io docker-compose containerd runc containernetworking-plugins podman conmon uidmap lxc)
# servers whose requests are watched, and what their clients are written with
PACKAGES+=(nginx wrk postgresql mariadb-server redis-server memcached nats-server rabbitmq-server unbound)
PACKAGES+=(python3-psycopg2 python3-pymysql python3-redis python3-pika python3-dnspython)
# emulated kernels, one of them with systemd
PACKAGES+=(qemu-system-x86 busybox-static cpio kmod xz-utils zstd debian-archive-keyring debootstrap e2fsprogs)

missing=()
for p in "${PACKAGES[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2> /dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	sudo=()
	[ "$(id -u)" = 0 ] || sudo=(sudo -n)
	if ! command -v apt-get > /dev/null || ! "${sudo[@]}" true 2> /dev/null; then
		echo "install.sh: cannot install (no apt, or not root): ${missing[*]}" >&2
	else
		echo "install.sh: installing ${missing[*]} (about two minutes)"
		start=$SECONDS
		# tcpdump and tshark ask about capture rights
		export DEBIAN_FRONTEND=noninteractive
		# The servers are for the tests to start: none of them runs on the machine itself.
		if [ ! -e /usr/sbin/policy-rc.d ]; then
			printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" install -m 755 /dev/stdin /usr/sbin/policy-rc.d
			trap '"${sudo[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
		fi
		"${sudo[@]}" apt-get -qq update
		# One by one where together fails: a package that this release does not
		# have (clang-19 before Debian 12) must not take the others along.
		if ! "${sudo[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null; then
			for p in "${missing[@]}"; do
				"${sudo[@]}" apt-get -qq install -y --no-install-recommends "$p" > /dev/null || echo "install.sh: no package $p" >&2
			done
		fi
		echo "install.sh: installed in $((SECONDS - start)) s"
	fi
fi

# Apache Kafka, for the sink of that name: its tests skip without it.
if command -v mvn > /dev/null; then
	test/kafkad/build.sh || echo "install.sh: Apache Kafka could not be fetched: its tests will skip" >&2
fi

# InfluxDB 1.8 is required (two minutes, then cached). InfluxDB 2 with Flux needs
# a Rust toolchain that not every machine can have: its tests skip without it.
for version in ${INFLUXD_VERSIONS:-1.8.10 2.7.12}; do
	[ -x "${WEIR_CACHE:-$HOME/.cache/weir}/influxd-$version" ] && continue
	echo "install.sh: building InfluxDB $version from source (minutes the first time, then cached)"
	start=$SECONDS
	if test/influxd/build.sh "$version"; then
		echo "install.sh: InfluxDB $version built in $((SECONDS - start)) s"
	else
		echo "install.sh: InfluxDB $version could not be built: its tests will skip" >&2
	fi
done

# Kapacitor, for the TICKscripts: their test skips without it.
if [ ! -x "${WEIR_CACHE:-$HOME/.cache/weir}/kapacitord-1.5.9" ]; then
	echo "install.sh: building Kapacitor from source (two minutes the first time, then cached)"
	test/kapacitor/build.sh || echo "install.sh: Kapacitor could not be built: its test will skip" >&2
fi
# Half a minute, then cached.
test/alertmanager/build.sh || echo "install.sh: Alertmanager could not be built: its tests will skip" >&2

# What only the last levels need is built beside the first ones, at the lowest priority;
# who needs it waits for the lock (test/run.sh, test/kernels).
CACHE=${WEIR_CACHE:-$HOME/.cache/weir}
mkdir -p "$CACHE/log"
(
	exec 9> "$CACHE/.beside.lock"
	flock 9
	nice -n 19 test/influxd/cli.sh || true
	nice -n 19 test/compose/build.sh || true
	nice -n 19 test/kafkad/telegraf.sh || true
) > "$CACHE/log/beside.log" 2>&1 < /dev/null &
(
	nice -n 19 test/kernels/boot.sh --fetch
	nice -n 19 test/kernels/rootfs.sh
) > "$CACHE/log/kernels.log" 2>&1 < /dev/null &
