#!/usr/bin/env bash
# Records the captures of this folder again: real programs between two network namespaces joined by a veth pair.
# Needs root and Debian's iproute2, tcpdump, tshark, ethtool, curl, python3, dnsmasq-base, bind9-dnsutils, iputils-ping,
# iperf3. Makes its own namespaces and removes them. Output goes to the folder given, default the current one.
set -euo pipefail
out=$(realpath "${1:-.}"); work=$(mktemp -d); a=nmcap-a; b=nmcap-b
cleanup() {
  jobs -p | xargs -r kill 2>/dev/null || true
  ip netns del $a 2>/dev/null || true; ip netns del $b 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
ip netns add $a; ip netns add $b
ip -n $a link add nmc0 type veth peer name nmc1 netns $b
ip -n $a addr add 10.71.0.1/24 dev nmc0; ip -n $b addr add 10.71.0.2/24 dev nmc1
for ns in $a $b; do ip -n $ns link set lo up; done
ip -n $a link set nmc0 up; ip -n $b link set nmc1 up
# A frame on the wire is what a NIC would receive: no segments larger than the MTU, checksums filled in.
ip netns exec $a ethtool -K nmc0 tso off gso off gro off tx off rx off >/dev/null
ip netns exec $b ethtool -K nmc1 tso off gso off gro off tx off rx off >/dev/null
mtu() { ip -n $a link set nmc0 mtu "$1"; ip -n $b link set nmc1 mtu "$1"; }
sleep 1

# 1. TCP download over HTTP, 1500-byte MTU, classic pcap with microseconds.
mtu 1500
head -c 1200000 /dev/urandom | base64 > "$work/file.txt"; truncate -s 1300000 "$work/file.txt"
(cd "$work" && exec ip netns exec $a python3 -m http.server 8080 --bind 10.71.0.1 >/dev/null 2>&1) &
sleep 1
ip netns exec $b tcpdump -q -i nmc1 -w "$out/tcp-download.pcap" 'tcp port 8080' 2>/dev/null & dump=$!
sleep 1; ip netns exec $b curl -s -o /dev/null http://10.71.0.1:8080/file.txt; sleep 1; kill $dump; wait $dump || true

# 2. DNS look-ups and pings of several sizes, pcapng.
ip netns exec $a dnsmasq --no-daemon --no-resolv --no-hosts --port=5353 --listen-address=10.71.0.1 --bind-interfaces \
  $(for i in $(seq 1 40); do echo "--address=/host$i.example/10.71.1.$i"; done) >/dev/null 2>&1 &
sleep 1
ip netns exec $b dumpcap -q -i nmc1 -w "$out/dns-ping.pcapng" >/dev/null 2>&1 & dump=$!
sleep 2
for i in $(seq 1 40); do ip netns exec $b dig +short +tries=1 -p 5353 @10.71.0.1 "host$i.example" >/dev/null; done
for size in 8 56 512 1400; do ip netns exec $b ping -q -c 20 -i 0.01 -s $size 10.71.0.1 >/dev/null; done
ip netns exec $b ping -q -c 5 -i 0.05 -s 4000 10.71.0.1 >/dev/null
sleep 1; kill $dump; wait $dump || true

# 3. TCP with jumbo frames, 9000-byte MTU: each needs three receive buffers. Classic pcap with nanoseconds.
mtu 9000
ip netns exec $a iperf3 -s -1 >/dev/null 2>&1 &
sleep 1
ip netns exec $b tcpdump -q --time-stamp-precision=nano -i nmc1 -w "$out/jumbo.pcap" 'tcp port 5201' 2>/dev/null & dump=$!
sleep 1; ip netns exec $b iperf3 -c 10.71.0.1 -R -n 1600K >/dev/null; sleep 1; kill $dump; wait $dump || true
