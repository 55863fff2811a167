#!/bin/bash
# telegraf.sh  builds Telegraf with the few plugins that the tests need, from source by
# the Go module proxy (two minutes), into the cache, where test/kafkad finds it.
set -euo pipefail
VERSION=1.36.4
OUT=${WEIR_CACHE:-$HOME/.cache/weir}/telegraf-$VERSION
[ -x "$OUT" ] && exit 0
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
go mod init telegraf-for-tests
go mod edit -require "github.com/influxdata/telegraf@v$VERSION"
go build -mod=mod -tags custom,inputs.kafka_consumer,outputs.influxdb_v2,parsers.influx,serializers.influx \
	-o telegraf github.com/influxdata/telegraf/cmd/telegraf
mkdir -p "$(dirname "$OUT")"
mv telegraf "$OUT"
