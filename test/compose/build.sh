#!/bin/sh
# build.sh  builds Docker Compose v2, where no package has it: docker-compose.yml is for
# v2, and Debian 12 has 1.29.
set -eu
. "$(dirname "$0")/../machine/module.sh"

version=2.40.3
begin docker-compose-$version "Docker Compose $version, two minutes of CPU"
unpack github.com/docker/compose/v2@v$version
build ./cmd -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=v$version"
