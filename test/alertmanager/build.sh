#!/bin/sh
# build.sh  builds Alertmanager, for tests against the real thing.
set -eu
. "$(dirname "$0")/../machine/module.sh"

version=0.28.1
begin alertmanager-$version "Alertmanager $version, half a minute of CPU"
unpack github.com/prometheus/alertmanager@v$version
build ./cmd/alertmanager -ldflags "-s -w -X github.com/prometheus/common/version.Version=$version"
