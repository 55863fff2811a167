#!/bin/sh
# build.sh  builds Docker Compose v2 from its Go module into ${WEIR_CACHE:-~/.cache/weir},
# where no package has it: docker-compose.yml is for v2, and Debian 12 has 1.29 (two
# minutes of CPU). Does nothing when it is there.
set -eu

version=2.40.3
cache=${WEIR_CACHE:-$HOME/.cache/weir}
out=$cache/docker-compose-$version
log=$cache/log/docker-compose-$version.log

[ -x "$out" ] && exit 0
mkdir -p "$cache/log"
echo "building Docker Compose $version, about two minutes of CPU; log: $log"
# go install refuses a module with replacements.
dir=$(cd / && go mod download -json "github.com/docker/compose/v2@v$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
src=$cache/src-compose
rm -rf "$src"
cp -r "$dir" "$src"
chmod -R u+w "$src"
cd "$src"
if ! CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=mod nice go build -o "$out.tmp" \
	-ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=v$version" ./cmd >"$log" 2>&1; then
	tail -n 25 "$log" >&2
	echo "build.sh: Docker Compose $version could not be built; whole log: $log" >&2
	exit 1
fi
mv "$out.tmp" "$out"
rm -rf "$src"
