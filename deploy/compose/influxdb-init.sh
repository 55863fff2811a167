#!/bin/bash
# Run once by the influxdb image after its set-up (/docker-entrypoint-initdb.d),
# with the influx command already configured for the operator. The bucket weir
# exists by then; this adds weir_log and one token per reader and writer.
#
# No DBRP mapping is made: InfluxDB 2 answers InfluxQL for a bucket by its name
# (virtual mapping, retention policy autogen), which is what Grafana asks with.
set -euo pipefail

org=$DOCKER_INFLUXDB_INIT_ORG
weir=$DOCKER_INFLUXDB_INIT_BUCKET_ID
secrets=${SECRETS:-/secrets}

# value NAME  prints the first "NAME": "value" of the JSON on stdin.
value() { grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# token FILE DESCRIPTION FLAGS…  leaves a new token in FILE; never empty.
token() {
	local file=$1 description=$2 token
	shift 2
	token=$(influx auth create --org "$org" --description "$description" --json "$@" | value token)
	[ -n "$token" ]
	echo "$token" > "$file"
}

log=$(influx bucket create --org "$org" --name weir_log --retention 24h --json | value id)
[ -n "$log" ]

# Weir reads it as root, Grafana as its own user (472).
umask 077
token "$secrets/weir/token" "weir writes" --write-bucket "$weir" --write-bucket "$log"
umask 022
token "$secrets/grafana/token" "grafana reads" --read-bucket "$weir" --read-bucket "$log"
