#!/bin/bash
# What a container of the image that image.go makes begins with, as its documentation says
# of InfluxData's: as root it hands the data over to the user influxdb; at the first start
# it sets up by DOCKER_INFLUXDB_INIT_… on a port where nobody waits for the server yet, and
# runs what is in /docker-entrypoint-initdb.d with the influx command configured.
set -euo pipefail
data=/var/lib/influxdb2
export INFLUX_CONFIGS_PATH=/etc/influxdb2/influx-configs HOME=/etc/influxdb2

serve() { # ADDRESS
	exec influxd run --http-bind-address "$1" --reporting-disabled \
		--bolt-path $data/influxd.bolt --sqlite-path $data/influxd.sqlite --engine-path $data/engine
}

if [ "$(id -u)" = 0 ]; then
	(umask 022 && mkdir -p $data /etc/influxdb2)
	chown -R influxdb $data /etc/influxdb2
	exec su -s /bin/bash -c 'exec bash "$0" "$@"' influxdb "$0" "$@"
fi

if [ "${DOCKER_INFLUXDB_INIT_MODE:-}" = setup ] && ! [ -e $data/influxd.bolt ]; then
	setup=127.0.0.1:9999
	(serve $setup) > /dev/null &
	server=$!
	trap 'kill $server; rm -f $data/influxd.bolt' EXIT
	until influx ping --host http://$setup > /dev/null 2>&1; do
		kill -0 $server
		sleep 0.2
	done
	influx setup --force --host http://$setup --username "$DOCKER_INFLUXDB_INIT_USERNAME" --password "$DOCKER_INFLUXDB_INIT_PASSWORD" \
		--token "$DOCKER_INFLUXDB_INIT_ADMIN_TOKEN" --org "$DOCKER_INFLUXDB_INIT_ORG" --bucket "$DOCKER_INFLUXDB_INIT_BUCKET" \
		--retention "$DOCKER_INFLUXDB_INIT_RETENTION"
	for script in /docker-entrypoint-initdb.d/*.sh; do
		bash "$script"
	done
	trap - EXIT
	kill $server
	wait $server || true
fi
serve :8086
