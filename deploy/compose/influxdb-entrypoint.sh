#!/bin/bash
# Entrypoint of the influxdb service, as root: makes the passwords that the
# image's set-up wants, once, then hands over to the image's own entrypoint.
# The operator's password stays in a volume that only this service has.
set -euo pipefail
umask 077

# 32 letters and digits from 24 random octets.
password() { head -c 24 /dev/urandom | base64 | tr '+/' 'ab'; }

[ -s /etc/influxdb2/admin-password ] || password > /etc/influxdb2/admin-password
DOCKER_INFLUXDB_INIT_PASSWORD=$(cat /etc/influxdb2/admin-password)
export DOCKER_INFLUXDB_INIT_PASSWORD

[ -s /secrets/grafana/password ] || password > /secrets/grafana/password
# Grafana reads it as its own user (472). The init script, which the image runs
# as the user influxdb, adds the tokens.
chown -R influxdb /secrets/grafana /secrets/weir
chmod 755 /secrets/grafana /secrets/weir
chmod 644 /secrets/grafana/password

exec /entrypoint.sh "$@"
