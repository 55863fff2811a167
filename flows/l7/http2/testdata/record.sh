#!/bin/sh
# Records the captures of this folder in a network namespace of their own: curl and
# h2load with nginx, and the gRPC program beside this file. Needs root, tcpdump,
# curl, nginx, nghttp2-client, go.
set -eu
cd "$(dirname "$0")"
ns=weir-h2-$$
tmp=$(mktemp -d)
chmod 755 $tmp
ip netns add $ns
trap 'ip netns pids $ns | xargs -r kill; ip netns del $ns; rm -rf $tmp' EXIT
in="ip netns exec $ns"
$in ip link set lo up

start() {
	$in tcpdump -i lo -U --immediate-mode -w $tmp/$1.pcap "tcp port $2" 2>/dev/null &
	dump=$!
	until [ -s $tmp/$1.pcap ]; do sleep 0.1; done
}
stop() {
	sleep 0.5
	kill $dump
	wait $dump || true
	# Acknowledgements are not needed.
	tcpdump -r $tmp/$1.pcap -w $1.pcap 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0 or ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0' 2>/dev/null
	chown "$(id -u):$(id -g)" $1.pcap
}

cat >$tmp/nginx.conf <<CONF
pid $tmp/pid; error_log $tmp/error; events {} daemon off;
http {
	access_log off; client_body_temp_path $tmp/b; proxy_temp_path $tmp/p; fastcgi_temp_path $tmp/f; uwsgi_temp_path $tmp/u; scgi_temp_path $tmp/s;
	server {
		listen 127.0.0.1:8080 http2;
		location / { return 200 "hello\n"; }
		location /users { return 200 "user\n"; }
		location /down { return 503; }
		location /none { return 204; }
		location /upload { proxy_pass http://127.0.0.1:8081; }
	}
	server { listen 127.0.0.1:8081; location / { return 200 "thanks\n"; } }
}
CONF
$in nginx -c $tmp/nginx.conf &
until $in ss -ltn | grep -q :8080; do sleep 0.1; done
u=http://127.0.0.1:8080
start nginx 8080
# One transfer per curl: 7.88 cannot use a connection of prior knowledge twice.
$in curl -sS --http2-prior-knowledge -o /dev/null "$u/users/42/orders?token=secret"
$in curl -sS --http2-prior-knowledge -I -o /dev/null $u/users/9
head -c 3000 /dev/zero | $in curl -sS --http2-prior-knowledge -H 'Authorization: Bearer hidden' --data-binary @- -o /dev/null $u/upload
$in h2load -c1 -m1 -n5 $u/ $u/users/42/orders $u/down $u/none $u/users/17/orders >/dev/null
$in h2load -c1 -m5 -n10 $u/users/1 $u/down >/dev/null
stop nginx

go build -o $tmp/grpc ./grpc
start grpc 50051
$in $tmp/grpc
stop grpc
