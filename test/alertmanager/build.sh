#!/bin/sh
# build.sh  builds Alertmanager from its Go module into ${WEIR_CACHE:-~/.cache/weir}, for
# tests against the real thing (half a minute of CPU). Does nothing when it is there.
set -eu

version=0.28.1
cache=${WEIR_CACHE:-$HOME/.cache/weir}
out=$cache/alertmanager-$version
log=$cache/log/alertmanager-$version.log

[ -x "$out" ] && exit 0
mkdir -p "$cache/log" "$cache/bin/alertmanager.$$"
echo "building Alertmanager $version; log: $log"
if ! (cd / && GOBIN=$cache/bin/alertmanager.$$ CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=mod nice go install \
	-ldflags "-s -w -X github.com/prometheus/common/version.Version=$version" \
	"github.com/prometheus/alertmanager/cmd/alertmanager@v$version") >>"$log" 2>&1; then
	tail -n 25 "$log" >&2
	echo "build.sh: Alertmanager $version could not be built; whole log: $log" >&2
	exit 1
fi
mv "$cache/bin/alertmanager.$$/alertmanager" "$out"
rmdir "$cache/bin/alertmanager.$$"
