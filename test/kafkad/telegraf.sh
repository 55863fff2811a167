#!/bin/sh
# telegraf.sh  builds Telegraf with the few plugins that the tests need.
set -eu
. "$(dirname "$0")/../machine/module.sh"

version=1.36.4
begin telegraf-$version "Telegraf $version, two minutes of CPU"
unpack github.com/influxdata/telegraf@v$version
build ./cmd/telegraf -tags custom,inputs.kafka_consumer,outputs.influxdb_v2,parsers.influx,serializers.influx
