#!/bin/sh
# build.sh VERSION: builds the InfluxDB server VERSION (1.8.10, 2.7.12), for tests against
# the real thing. Run as root it installs what is missing (gcc; for 2.x cargo) with
# apt-get; otherwise it says what to install.
set -eu
. "$(dirname "$0")/../machine/module.sh"

version=${1:?usage: build.sh VERSION, for example 1.8.10 or 2.7.12}
case $version in
1.*) module=github.com/influxdata/influxdb; tags=; cost="two minutes" ;;
2.*) module=github.com/influxdata/influxdb/v2; tags=sqlite_foreign_keys,sqlite_json; cost="ten minutes" ;;
*) echo "build.sh: InfluxDB $version is not known here: 1.8.10 and 2.7.12 are" >&2; exit 1 ;;
esac
command -v go >/dev/null || { echo "build.sh: go is missing; install Go ≥ 1.26" >&2; exit 1; }
begin "influxd-$version" "InfluxDB $version, $cost of CPU"

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

export CGO_ENABLED=1
need gcc gcc
unpack "$module@v$version"

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
	(cd / && GOTOOLCHAIN=local GOFLAGS=-mod=mod GOBIN=$cache/bin go install github.com/influxdata/pkg-config@v0.2.7) >>"$log" 2>&1
	mv "$cache/bin/pkg-config" "$cache/bin/flux-pkg-config"
	mkdir -p "$cache/bin/real"
	ln -sf /usr/bin/pkg-config "$cache/bin/real/pkg-config"
	export PKG_CONFIG="$cache/bin/flux-pkg-config" PATH="$cache/bin/real:$PATH"
fi

build ./cmd/influxd -tags "$tags" \
	-ldflags "-s -w -X main.version=$version -X main.branch=weir -X main.commit=weir -X main.date=2025-01-01T00:00:00Z"
