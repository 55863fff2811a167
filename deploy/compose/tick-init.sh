#!/bin/bash
# Sourced once by the image of InfluxDB 1.8 after it has made the administrator
# (/docker-entrypoint-initdb.d): databases with their retention, and one user per reader
# and writer.
secrets=${SECRETS:-/secrets}

execute() {
	influx -host "${INFLUXDB_INIT_HOST:-127.0.0.1}" -port "${INFLUXDB_INIT_PORT:-8086}" \
		-username "$INFLUXDB_ADMIN_USER" -password "$INFLUXDB_ADMIN_PASSWORD" -execute "$1"
}

# user NAME PASSWORD RIGHT: READ or WRITE, on both databases.
user() {
	execute "CREATE USER \"$1\" WITH PASSWORD '$2'"
	execute "GRANT $3 ON \"weir\" TO \"$1\""
	execute "GRANT $3 ON \"weir_log\" TO \"$1\""
}

execute 'CREATE DATABASE "weir" WITH DURATION 7d'
execute 'CREATE DATABASE "weir_log" WITH DURATION 24h'
token=$(cat "$secrets/weir/token")
user weir "${token#*:}" WRITE
user kapacitor "$(cat "$secrets/kapacitor/password")" READ
user chronograf "$(cat "$secrets/chronograf/password")" READ
