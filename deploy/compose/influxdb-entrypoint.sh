#!/bin/bash
# Entrypoint of the influxdb service, as root: makes the secrets that the image's
# set-up wants, once, then hands over to the image's own entrypoint. The operator's
# password stays in a volume that only this service has; the operator's token in one
# that weir-setup reads as well, and nobody else.
set -euo pipefail
umask 077
config=${CONFIG:-/etc/influxdb2}
secrets=${SECRETS:-/secrets}

# 32 letters and digits from 24 random octets.
password() { head -c 24 /dev/urandom | base64 | tr '+/' 'ab'; }

[ -s "$config/admin-password" ] || password > "$config/admin-password"
DOCKER_INFLUXDB_INIT_PASSWORD=$(cat "$config/admin-password")
export DOCKER_INFLUXDB_INIT_PASSWORD

# A server that was set up before there was this file has its token where the image
# left it, in the configuration of the influx command.
if ! [ -s "$secrets/admin/token" ]; then
	if [ -s "$config/influx-configs" ]; then
		sed -n 's/^ *token *= *"\(.*\)"$/\1/p' "$config/influx-configs" | head -n 1 > "$secrets/admin/token"
	else
		password > "$secrets/admin/token"
	fi
fi
DOCKER_INFLUXDB_INIT_ADMIN_TOKEN=$(cat "$secrets/admin/token")
export DOCKER_INFLUXDB_INIT_ADMIN_TOKEN

[ -s "$secrets/grafana/password" ] || password > "$secrets/grafana/password"
# Grafana reads it as its own user (472). The init script, which the image runs
# as the user influxdb, adds the token.
chown -R "${OWNER:-influxdb}" "$secrets/grafana"
chmod 755 "$secrets/grafana"
chmod 644 "$secrets/grafana/password"

exec "${ENTRYPOINT:-/entrypoint.sh}" "$@"
