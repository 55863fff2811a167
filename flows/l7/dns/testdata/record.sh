#!/bin/sh
# Records the captures of this folder in a network namespace: Unbound as the resolver,
# dig and curl as its clients. Needs root, unbound, bind9-dnsutils, curl, python3, tcpdump.
#
# udp.pcap, tcp.pcap: questions of all outcomes, one of them never answered; over UDP
#   a cut answer and a client that gives up twice, over TCP also several questions on one
#   connection.
# names.pcap: curl looks up web.shop.test and fetches a page from 192.0.2.7, and one from
#   192.0.2.8, which it has not looked up.
set -eu
cd "$(dirname "$0")"
ns=weir-dns-$$
tmp=$(mktemp -d)
ip netns add $ns
trap 'ip netns pids $ns | xargs -r kill; ip netns del $ns; rm -rf $tmp /etc/netns/$ns' EXIT
in="ip netns exec $ns"
mkdir -p /etc/netns/$ns
echo nameserver 192.0.2.53 > /etc/netns/$ns/resolv.conf
$in ip link set lo up
for a in 2 7 8 53; do $in ip address add 192.0.2.$a/32 dev lo; done
{
	cat <<-END
		server:
		 interface: 192.0.2.53
		 access-control: 0.0.0.0/0 allow
		 do-daemonize: no
		 username: ""
		 chroot: ""
		 pidfile: ""
		 use-syslog: no
		 local-zone: "shop.test." static
		 local-data: "web.shop.test. 60 IN A 192.0.2.7"
		 local-data: "db.shop.test. 60 IN A 192.0.2.21"
		 local-data: "db.shop.test. 60 IN A 192.0.2.22"
		 local-data: "db.shop.test. 60 IN AAAA 2001:db8::21"
		 local-data: "shop.test. 60 IN MX 10 mail.shop.test."
		 local-data: "_http._tcp.shop.test. 60 IN SRV 0 0 80 web.shop.test."
		 local-data-ptr: "192.0.2.7 web.shop.test"
		 local-zone: "refused.example." refuse
		 local-zone: "silent.example." deny
	END
	for i in $(seq 40); do echo " local-data: 'big.shop.test. 60 IN TXT \"$i it takes more than fits into one datagram of 1232 octets\"'"; done
} > $tmp/unbound.conf
$in unbound -c $tmp/unbound.conf 2> /dev/null &
for a in 7 8; do $in python3 -m http.server --bind 192.0.2.$a --directory $tmp 80 > /dev/null 2>&1 & done
until [ "$($in ss -ltn | grep -c -e :53 -e :80)" -ge 3 ]; do sleep 0.1; done

# record NAME FILTER COMMAND…: what passes while a command runs.
record() {
	name=$1 filter=$2
	shift 2
	$in tcpdump -i lo -U --immediate-mode -w $tmp/$name.pcap "$filter" 2> /dev/null &
	dump=$!
	until [ -s $tmp/$name.pcap ]; do sleep 0.1; done
	"$@"
	sleep 0.5
	kill $dump
	wait $dump || true
	cat $tmp/$name.pcap > $name.pcap
}

ask() { $in dig -b 192.0.2.2 @192.0.2.53 +tries=1 +timeout=1 "$@" > /dev/null 2>&1 || true; }

# every WAY: each kind of question and of outcome.
every() {
	ask $1 web.shop.test
	ask $1 db.shop.test AAAA
	ask $1 web.shop.test AAAA
	ask $1 shop.test MX
	ask $1 _http._tcp.shop.test SRV
	ask $1 -x 192.0.2.7
	ask $1 none.shop.test
	ask $1 www.refused.example
	ask $1 www.silent.example
}

overUDP() {
	every +notcp
	ask +ignore big.shop.test TXT
	ask +tries=2 www.silent.example AAAA
}

overTCP() {
	every +tcp
	ask +tcp +keepopen db.shop.test none.shop.test AAAA big.shop.test TXT
}

fetch() {
	$in curl -s -o /dev/null --interface 192.0.2.2 http://web.shop.test/
	$in curl -s -o /dev/null --interface 192.0.2.2 http://192.0.2.8/
}

record udp "udp port 53" overUDP
record tcp "tcp port 53" overTCP
record names "udp port 53 or tcp port 80" fetch
