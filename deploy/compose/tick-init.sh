#!/bin/bash
# Sourced once by the image of InfluxDB 1.8 after it has made the administrator
# (/docker-entrypoint-initdb.d): a user for each reader. The databases are here because a
# right is given on what is there; what is in them, and the user that writes, is
# weir-tick-setup's (`weir setup influxdb`, which keeps these as they are).
secrets=${SECRETS:-/secrets}

execute() {
	influx -host "${INFLUXDB_INIT_HOST:-127.0.0.1}" -port "${INFLUXDB_INIT_PORT:-8086}" \
		-username "$INFLUXDB_ADMIN_USER" -password "$INFLUXDB_ADMIN_PASSWORD" -execute "$1"
}

# database NAME KEEPS
database() {
	execute "CREATE DATABASE \"$1\" WITH DURATION $2"
	execute "GRANT READ ON \"$1\" TO \"kapacitor\""
	execute "GRANT READ ON \"$1\" TO \"chronograf\""
}

execute "CREATE USER \"kapacitor\" WITH PASSWORD '$(cat "$secrets/kapacitor/password")'"
execute "CREATE USER \"chronograf\" WITH PASSWORD '$(cat "$secrets/chronograf/password")'"
database weir 7d
database weir_log 24h
database weir_1m 30d
database weir_1h 365d
