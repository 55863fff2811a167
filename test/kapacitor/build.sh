#!/bin/sh
# build.sh: builds Kapacitor 1.5.9 from its Go module into
# ${WEIR_CACHE:-~/.cache/weir}/kapacitord-1.5.9, for tests of deploy/kapacitor
# against the real thing. Does nothing when it is there. Newer Go does not build
# it: Go 1.21 is fetched as a module. About two minutes of CPU, no root.
set -eu

version=1.5.9
cache=${WEIR_CACHE:-$HOME/.cache/weir}
out=$cache/kapacitord-$version
log=$cache/log/kapacitord-$version.log

if [ -x "$out" ]; then
	echo "$out is already there"
	exit 0
fi
mkdir -p "$cache/log"
if command -v flock >/dev/null && [ "${WEIR_BUILD_LOCKED:-}" != "kapacitor" ]; then
	WEIR_BUILD_LOCKED=kapacitor exec flock "$cache/.build-kapacitor.lock" "$0"
fi
[ -x "$out" ] && exit 0
start=$(date +%s)
dir=$(cd / && go mod download -json "github.com/influxdata/kapacitor@v$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
src=$cache/src-kapacitor
rm -rf "$src"
cp -r "$dir" "$src"
chmod -R u+w "$src"
cd "$src"
if ! GOTOOLCHAIN=go1.21.13 GOFLAGS=-mod=mod CGO_ENABLED=0 nice go build -o "$out.tmp" -ldflags "-s -w -X main.version=$version" ./cmd/kapacitord >"$log" 2>&1; then
	tail -n 25 "$log" >&2
	echo "build.sh: Kapacitor $version could not be built; whole log: $log" >&2
	exit 1
fi
mv "$out.tmp" "$out"
rm -rf "$src"
echo "built $out in $(($(date +%s) - start)) s"
