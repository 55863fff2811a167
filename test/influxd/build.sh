#!/bin/sh
# build.sh VERSION: builds the InfluxDB server VERSION (1.8.10, 2.7.12) from its
# Go module into ${WEIR_CACHE:-~/.cache/weir}/influxd-VERSION, for tests against
# the real thing. Does nothing when it is there. Run as root it installs what
# is missing (gcc; for 2.x cargo) with apt-get; otherwise it says what to install.
set -eu

version=${1:?usage: build.sh VERSION, for example 1.8.10 or 2.7.12}
cache=${WEIR_CACHE:-$HOME/.cache/weir}
out=$cache/influxd-$version
log=$cache/log/influxd-$version.log

if [ -x "$out" ]; then
	echo "$out is already there"
	exit 0
fi
command -v go >/dev/null || { echo "build.sh: go is missing; install Go ≥ 1.26" >&2; exit 1; }
mkdir -p "$cache/log"
start=$(date +%s)

# Two test packages may want the same server at once: one builds, the rest wait.
if command -v flock >/dev/null && [ "${WEIR_BUILD_LOCKED:-}" != "$version" ]; then
	WEIR_BUILD_LOCKED=$version exec flock "$cache/.build-$version.lock" "$0" "$version"
fi
[ -x "$out" ] && exit 0

need() { # need COMMAND PACKAGE…: the first package that can be had is installed
	command -v "$1" >/dev/null && return 0
	cmd=$1; shift
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		for p in "$@"; do
			apt-get install -y -q --no-install-recommends "$p" >>"$log" 2>&1 && return 0
			apt-get update -q >>"$log" 2>&1 || true
			apt-get install -y -q --no-install-recommends "$p" >>"$log" 2>&1 && return 0
		done
	fi
	echo "build.sh: $cmd is missing: apt-get install $1" >&2
	exit 1
}

case $version in
1.*) module=github.com/influxdata/influxdb; tags=; what="about 2 minutes of CPU" ;;
2.*) module=github.com/influxdata/influxdb/v2; tags=sqlite_foreign_keys,sqlite_json; what="about 10 minutes of CPU" ;;
*) echo "build.sh: InfluxDB $version is not known here: 1.8.10 and 2.7.12 are" >&2; exit 1 ;;
esac
echo "building InfluxDB $version, $what; log: $log"

# The servers ask for older toolchains than the one here, which builds them well.
export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=1
need gcc gcc
dir=$(cd / && go mod download -json "$module@v$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
src=$cache/src-$version
rm -rf "$src"
cp -r "$dir" "$src"
chmod -R u+w "$src"
cd "$src"

if [ "$tags" ]; then
	# Flux is a Rust library, built by influxdata's stand-in for pkg-config.
	# Debian's cargo (0.66) is too old for it, cargo-web is not. rustup's
	# proxies are pinned to a toolchain that is there: flux pins another one.
	need cargo cargo-web cargo
	if command -v rustup >/dev/null && [ -z "${RUSTUP_TOOLCHAIN:-}" ]; then
		RUSTUP_TOOLCHAIN=$(rustup toolchain list | sed -n '1s/ .*//p')
		export RUSTUP_TOOLCHAIN
	fi
	# flux's feature "strict" denies warnings, and newer compilers have new ones
	# (--cap-lints does not help): pkg-config gets a cargo that leaves it out.
	mkdir -p "$cache/bin"
	printf '#!/bin/sh\nexec cargo "$@" -p flux --no-default-features --features cffi\n' >"$cache/bin/cargo-lax"
	chmod +x "$cache/bin/cargo-lax"
	export CARGO="$cache/bin/cargo-lax"
	# influxdata's pkg-config hands over to the real one, the first in PATH: name
	# it differently, or two of them call each other for ever.
	[ -x /usr/bin/pkg-config ] || need /usr/bin/pkg-config pkg-config
	(cd / && GOBIN=$cache/bin go install github.com/influxdata/pkg-config@v0.2.7) >>"$log" 2>&1
	mv "$cache/bin/pkg-config" "$cache/bin/flux-pkg-config"
	mkdir -p "$cache/bin/real"
	ln -sf /usr/bin/pkg-config "$cache/bin/real/pkg-config"
	export PKG_CONFIG="$cache/bin/flux-pkg-config" PATH="$cache/bin/real:$PATH"
fi

if ! nice go build -tags "$tags" -o "$out.tmp" \
	-ldflags "-s -w -X main.version=$version -X main.branch=weir -X main.commit=weir -X main.date=2025-01-01T00:00:00Z" \
	./cmd/influxd >>"$log" 2>&1; then
	tail -n 25 "$log" >&2
	echo "build.sh: InfluxDB $version could not be built; whole log: $log" >&2
	exit 1
fi
mv "$out.tmp" "$out"
rm -rf "$src"
echo "built $out in $(($(date +%s) - start)) s"
