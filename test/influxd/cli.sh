#!/bin/sh
# cli.sh  builds the influx command of InfluxDB 2: the one whose module the server 2.7.12
# names, so that it is among what build.sh fetched already.
set -eu
. "$(dirname "$0")/../machine/module.sh"

version=2.5
begin influx-$version "the influx command $version, twenty seconds of CPU"
unpack github.com/influxdata/influx-cli/v2@v2.2.1-0.20221028161653-3285a03e9e28
build ./cmd/influx -ldflags "-s -w -X main.version=$version"
