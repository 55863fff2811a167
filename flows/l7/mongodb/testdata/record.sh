#!/bin/sh
# Records the captures of this folder in a network namespace of their own. Needs root,
# tcpdump, go. The program is a module of its own, outside the tree: FerretDB has 100
# dependencies that Weir has not.
set -eu
cd "$(dirname "$0")"
ns=weir-mongo-$$
tmp=$(mktemp -d)
ip netns add $ns
trap 'ip netns pids $ns | xargs -r kill; ip netns del $ns; rm -rf $tmp' EXIT
ip netns exec $ns ip link set lo up
cp record/*.go $tmp
(cd $tmp && go mod init record && go get github.com/FerretDB/FerretDB@v1.24.2 go.mongodb.org/mongo-driver/v2@v2.10.0 && go mod tidy && go build -o record .) 2>/dev/null
for what in ferretdb responder; do
	ip netns exec $ns tcpdump -i lo -U --immediate-mode -w $tmp/$what.pcap tcp port 27017 2>/dev/null &
	dump=$!
	until [ -s $tmp/$what.pcap ]; do sleep 0.1; done
	sleep 0.5
	ip netns exec $ns $tmp/record $what
	sleep 0.5
	kill $dump
	wait $dump || true
	# Acknowledgements are not needed.
	tcpdump -r $tmp/$what.pcap -w $what.pcap 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0 or ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0' 2>/dev/null
	chown "$(id -u):$(id -g)" $what.pcap
done
