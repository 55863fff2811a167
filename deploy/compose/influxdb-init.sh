#!/bin/bash
# Run once by the influxdb image after its set-up (/docker-entrypoint-initdb.d),
# with the influx command already configured for the operator: the token of Grafana.
# Everything else is weir-setup's (`weir setup influxdb`), at each `docker compose up`.
#
# It may read every bucket of the organization, and so those that weir-setup makes
# later (weir_log, weir_1m, weir_1h); the organization holds nothing but Weir's.
set -euo pipefail

token=$(influx auth create --org "$DOCKER_INFLUXDB_INIT_ORG" --description "grafana reads" --read-buckets --json |
	grep -o '"token": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
[ -n "$token" ]
# Grafana reads it as its own user (472).
umask 022
echo "$token" > "${SECRETS:-/secrets}/grafana/token"
