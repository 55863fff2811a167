#!/bin/sh
# build.sh  builds Kapacitor, for tests of deploy/kapacitor against the real thing. Newer
# Go does not build it: Go 1.21 is fetched as a module.
set -eu
. "$(dirname "$0")/../machine/module.sh"

version=1.5.9
GOTOOLCHAIN=go1.21.13
begin kapacitord-$version "Kapacitor $version, two minutes of CPU"
unpack github.com/influxdata/kapacitor@v$version
build ./cmd/kapacitord -ldflags "-s -w -X main.version=$version"
