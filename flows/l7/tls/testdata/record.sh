#!/bin/sh
# Records the captures of this folder: openssl s_server and s_client in a network
# namespace of their own. Needs root, openssl, tcpdump.
set -eu
cd "$(dirname "$0")"
ns=weir-tls-$$
tmp=$(mktemp -d)
ip netns add $ns
trap 'ip netns pids $ns | xargs -r kill; ip netns del $ns; rm -rf $tmp' EXIT
in="ip netns exec $ns"
$in ip link set lo up
mkfifo $tmp/stdin
exec 3<>$tmp/stdin # which never ends
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $tmp/key -out $tmp/cert \
	-subj /CN=Example.test -days 3650 2>/dev/null

# record NAME SERVER-OPTIONS CLIENT-OPTIONS…: one or more connections.
serving=-www
record() {
	name=$1 server=$2
	shift 2
	$in tcpdump -i lo -U --immediate-mode -w $tmp/$name.pcap tcp port 4433 2>/dev/null &
	dump=$!
	$in openssl s_server -accept 4433 -cert $tmp/cert -key $tmp/key $serving $server <&3 >/dev/null 2>&1 &
	srv=$!
	until $in ss -ltn | grep -q :4433 && [ -s $tmp/$name.pcap ]; do sleep 0.1; done
	for options in "$@"; do
		printf 'GET / HTTP/1.0\r\n\r\n' | timeout 5 $in openssl s_client -connect 127.0.0.1:4433 -servername WWW.Example.test \
			-ign_eof $options >/dev/null 2>&1 || true
	done
	sleep 0.5
	kill $dump $srv
	wait $dump $srv || true
	# Only the handshakes are needed: the pages' octets are left out.
	tcpdump -r $tmp/$name.pcap -w $name.pcap 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0 or ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0' 2>/dev/null
}

record tls13 "-alpn h2,http/1.1" "-tls1_3 -alpn http/1.1" "-tls1_3 -verify_return_error -verify 1" "-tls1_3 -sess_out $tmp/s13" "-tls1_3 -sess_in $tmp/s13"
record tls12 "-alpn h2,http/1.1" "-tls1_2 -alpn http/1.1" "-tls1_2 -sess_out $tmp/s12" "-tls1_2 -sess_in $tmp/s12" "-tls1_2 -verify_return_error -verify 1"
record refused "-tls1_3 -alpn h2" "-tls1_2" "-tls1_3 -alpn foo" "-tls1_3 -ciphersuites TLS_AES_128_CCM_8_SHA256"
record retry "-tls1_3 -groups P-384" "-tls1_3 -groups X25519:P-384"
serving= # which s_server does not do with early data
printf 'GET / HTTP/1.0\r\n\r\n' >$tmp/early
record early "-early_data" "-tls1_3 -sess_out $tmp/se" "-tls1_3 -sess_in $tmp/se -early_data $tmp/early"
