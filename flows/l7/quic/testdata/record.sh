#!/bin/sh
# Records the capture of this folder: the program beside this file in a network
# namespace of its own. Needs root, tcpdump, go.
set -eu
cd "$(dirname "$0")"
ns=weir-quic-$$
tmp=$(mktemp -d)
# A module of its own: Weir itself does not need all that x/net/quic needs.
mkdir $tmp/src
cp echo/main.go $tmp/src
(cd $tmp/src && go mod init echo && go get golang.org/x/net@v0.59.0 && go mod tidy && go build -o $tmp/echo .) 2>/dev/null
ip netns add $ns
trap 'ip netns pids $ns | xargs -r kill; ip netns del $ns; rm -rf $tmp' EXIT
in="ip netns exec $ns"
$in ip link set lo up
$in tcpdump -i lo -U --immediate-mode -w $tmp/echo.pcap udp port 4434 2>/dev/null &
dump=$!
until [ -s $tmp/echo.pcap ]; do sleep 0.1; done
timeout 30 $in $tmp/echo
sleep 0.5
kill $dump
wait $dump || true
# What is behind the handshake is not needed: long headers only.
tcpdump -r $tmp/echo.pcap -w echo.pcap 'udp[8] & 0x80 != 0' 2>/dev/null
chown "$(id -u):$(id -g)" echo.pcap
