#!/bin/sh
# cli.sh  builds the influx command of InfluxDB 2 into ${WEIR_CACHE:-~/.cache/weir}/influx-2.5:
# the one whose module the server 2.7.12 names, so that it is among what build.sh fetched
# already (twenty seconds of CPU). Does nothing when it is there.
set -eu

version=2.5
module=github.com/influxdata/influx-cli/v2@v2.2.1-0.20221028161653-3285a03e9e28
cache=${WEIR_CACHE:-$HOME/.cache/weir}
out=$cache/influx-$version
log=$cache/log/influx-$version.log

[ -x "$out" ] && exit 0
mkdir -p "$cache/log"
echo "building the influx command $version, twenty seconds of CPU; log: $log"
# Not by go install: not every proxy answers what that asks of the path of the command.
dir=$(cd / && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
src=$cache/src-influx
rm -rf "$src"
cp -r "$dir" "$src"
chmod -R u+w "$src"
cd "$src"
if ! CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=mod nice go build -o "$out.tmp" \
	-ldflags "-s -w -X main.version=$version" ./cmd/influx >"$log" 2>&1; then
	tail -n 25 "$log" >&2
	echo "cli.sh: the influx command $version could not be built; whole log: $log" >&2
	exit 1
fi
mv "$out.tmp" "$out"
rm -rf "$src"
