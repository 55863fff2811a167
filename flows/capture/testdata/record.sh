#!/bin/sh
# Records the captures of real traffic in this directory, between two network
# namespaces joined by a veth pair. Needs root, tcpdump, iproute2, iptables, python3.
# The recorded files are committed; the golden files beside them are checked by
# eye and by tshark (TestTotalsAgreeWithTshark) after a new recording.
set -eu
cd "$(dirname "$0")"
T=$(mktemp -d)
A=Cweir-a B=Cweir-b
cleanup() { rm -rf $T; ip netns del $A 2>/dev/null || true; ip netns del $B 2>/dev/null || true; }
trap cleanup EXIT
ip netns del $A 2>/dev/null || true
ip netns del $B 2>/dev/null || true
ip netns add $A
ip netns add $B
ip -n $A link add va type veth peer name vb netns $B
for n in $A:va:1 $B:vb:2; do
	ns=${n%%:*} rest=${n#*:} dev=${rest%%:*} host=${rest#*:}
	ip -n "$ns" addr add 10.9.0.$host/24 dev "$dev"
	ip -n "$ns" addr add fd09::$host/64 dev "$dev" nodad
	ip -n "$ns" link set lo up
	ip -n "$ns" link set "$dev" up
	ip -n "$ns" link set "$dev" gso_max_segs 1 # one packet, one segment
done
sleep 0.5

# record FILE FILTER TCPDUMP-OPTIONS... : traffic is read from stdin as a script
record() {
	file=$1 filter=$2
	shift 2
	ip netns exec $A tcpdump -Z root -s 2000 --immediate-mode -U -q -w "$file" "$@" $filter 2>"$T/$file.log" &
	dump=$!
	while ! grep -q 'listening on' "$T/$file.log" 2>/dev/null; do sleep 0.05; done
	timeout 15 sh -eu
	sleep 1 # what is under way is written
	kill -TERM $dump
	wait $dump || true
	rm -f "$T/$file.log"
}

cat >$T/server.py <<'PY'
import socket, sys, time
s = socket.create_server(("10.9.0.2", int(sys.argv[1])))
print("up", flush=True)
c, _ = s.accept()
c.recv(4096)
body = b"x" * 3000
c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + body)
c.close()
PY
cat >$T/client.py <<'PY'
import socket, sys
c = socket.create_connection(("10.9.0.2", int(sys.argv[1])))
c.sendall(b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n")
while c.recv(4096): pass
c.close()
PY
HTTP="ip netns exec $B python3 $T/server.py 8080 >$T/up & while ! grep -qs up $T/up; do sleep 0.05; done; ip netns exec $A python3 $T/client.py 8080; wait; rm $T/up"

echo "$HTTP" | record real_http.pcap "tcp" -i va
echo "$HTTP" | record real_http_nano.pcap "tcp" -i va --time-stamp-precision=nano
echo "$HTTP" | record real_http_snap96.pcap "tcp" -i va -s 96
echo "$HTTP" | record real_http_cooked2.pcap "tcp" -i any
echo "$HTTP" | record real_http_cooked1.pcap "tcp" -i any -y LINUX_SLL

cat >$T/ping.py <<'PY'
import socket, struct, sys
family, proto, request, host = {
    "4": (socket.AF_INET, socket.IPPROTO_ICMP, 8, "10.9.0.2"),
    "6": (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, "fd09::2"),
}[sys.argv[1]]
s = socket.socket(family, socket.SOCK_RAW, proto)
s.settimeout(1)
for n in range(2):
    h = struct.pack("!BBHHH", request, 0, 0, 0x1234, n) + b"p" * int(sys.argv[2])
    if len(h) % 2: h += b"\0"
    t = sum(struct.unpack("!%dH" % (len(h) // 2), h)); t = (t >> 16) + (t & 0xffff); t += t >> 16
    s.sendto(h[:2] + struct.pack("!H", ~t & 0xffff) + h[4:], (host, 0))
    while s.recv(65536)[20 if family == socket.AF_INET else 0] == request: pass
PY
echo "for v in 4 6; do ip netns exec $A python3 $T/ping.py \$v 56; ip netns exec $A python3 $T/ping.py \$v 2990; done" |
	record real_ping.pcap "icmp or icmp6 or ip6" -i va -s 128

# Two connections over loopback, seen twice on `any`.
cat >$T/lo.py <<'PY'
import socket
s = socket.create_server(("127.0.0.1", 9090))
for i in range(2):
    c = socket.create_connection(("127.0.0.1", 9090)); d, _ = s.accept()
    c.sendall(b"ping"); d.recv(10); d.sendall(b"pong"); c.recv(10); c.close(); d.close()
PY
echo "ip netns exec $A python3 $T/lo.py" | record real_lo_any.pcap "tcp" -i any

# The server's application does not read: zero window, probes, then it reads on.
cat >$T/zserver.py <<'PY'
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
s.bind(("10.9.0.2", 8081)); s.listen(); print("up", flush=True)
c, _ = s.accept()
time.sleep(1.5)
while c.recv(4096): pass
PY
cat >$T/zclient.py <<'PY'
import socket
c = socket.create_connection(("10.9.0.2", 8081))
c.sendall(b"z" * 12000)
c.close()
PY
echo "ip netns exec $B python3 $T/zserver.py >$T/up & while ! grep -qs up $T/up; do sleep 0.05; done; ip netns exec $A python3 $T/zclient.py; wait; rm $T/up" |
	record real_zero_window.pcap "tcp" -i va -s 128

# Refused, and reset by a server that closes with unread data.
cat >$T/rserver.py <<'PY'
import socket, time
s = socket.create_server(("10.9.0.2", 8082)); print("up", flush=True)
c, _ = s.accept(); time.sleep(0.2); c.close()
PY
cat >$T/rclient.py <<'PY'
import socket, time
try: socket.create_connection(("10.9.0.2", 8099))
except ConnectionRefusedError: pass
c = socket.create_connection(("10.9.0.2", 8082)); c.sendall(b"unread"); time.sleep(0.4)
PY
echo "ip netns exec $B python3 $T/rserver.py >$T/up & while ! grep -qs up $T/up; do sleep 0.05; done; ip netns exec $A python3 $T/rclient.py; wait; rm $T/up" |
	record real_server_reset.pcap "tcp" -i va

# The SYN is dropped twice: connect succeeds after three seconds.
ip netns exec $B iptables -A INPUT -p tcp --dport 8083 -m conntrack --ctstate NEW -j DROP 2>/dev/null ||
	ip netns exec $B iptables -A INPUT -p tcp --dport 8083 --syn -j DROP
echo "ip netns exec $B python3 $T/server.py 8083 >$T/up & while ! grep -qs up $T/up; do sleep 0.05; done; (sleep 2; ip netns exec $B iptables -F INPUT) & ip netns exec $A python3 $T/client.py 8083; wait; rm $T/up" |
	record real_syn_retransmit.pcap "tcp" -i va -s 128

# A lossy line: retransmissions that tshark can be asked about.
ip netns exec $B iptables -A INPUT -p tcp --dport 8084 -m statistic --mode nth --every 9 --packet 5 -j DROP
cat >$T/lserver.py <<'PY'
import socket
s = socket.create_server(("10.9.0.2", 8084)); print("up", flush=True)
c, _ = s.accept()
while c.recv(4096): pass
c.sendall(b"y" * 20000); c.close()
PY
cat >$T/lclient.py <<'PY'
import socket
c = socket.create_connection(("10.9.0.2", 8084)); c.sendall(b"q" * 40000); c.shutdown(socket.SHUT_WR)
while c.recv(4096): pass
c.close()
PY
echo "ip netns exec $B python3 $T/lserver.py >$T/up & while ! grep -qs up $T/up; do sleep 0.05; done; ip netns exec $A python3 $T/lclient.py; wait; rm $T/up" |
	record real_loss.pcap "tcp" -i va -s 96
ls -l real_*.pcap
