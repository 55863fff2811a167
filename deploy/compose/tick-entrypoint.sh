#!/bin/bash
# Entrypoint of the influxdb1 service (profile tick), as root: makes the passwords, once,
# then hands over to the image's own entrypoint, which makes the administrator and runs
# tick-init.sh. Each password stays where only the service that needs it can read it; the
# administrator's is for weir-tick-setup, too.
set -euo pipefail
umask 077
secrets=${SECRETS:-/secrets}

# 32 letters and digits from 24 random octets.
password() { head -c 24 /dev/urandom | base64 | tr '+/' 'ab'; }

for user in admin kapacitor chronograf; do
	[ -s "$secrets/$user/password" ] || password > "$secrets/$user/password"
done
# Weir takes user and password of 1.x as a token: weir-tick-setup the administrator's.
echo "${INFLUXDB_ADMIN_USER:-admin}:$(cat "$secrets/admin/password")" > "$secrets/admin/token"
# The images of these two run as users of their own.
chmod 755 "$secrets/kapacitor" "$secrets/chronograf"
chmod 644 "$secrets/kapacitor/password" "$secrets/chronograf/password"

INFLUXDB_ADMIN_PASSWORD=$(cat "$secrets/admin/password")
export INFLUXDB_ADMIN_PASSWORD

exec "${ENTRYPOINT:-/entrypoint.sh}" "$@"
