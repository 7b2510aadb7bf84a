#!/usr/bin/env bash
# Two namespace hosts and a real QEMU guest get their addresses and names from
# weft, of IPv4 and of IPv6, talk to each other through it, and reach an internet by
# the addresses of the host that weft runs on. There is no kernel bridge anywhere, no firewall rule, and
# no other server but one out there:
#
#     h1 ---(internal)---+
#                      weft 10.99.0.1 --(host port)-- the host of the demo
#     h2 --veth--(raw)---+---(tap)--- vm1         203.0.113.2, 2001:db8::2
#                        |                                      |
#                        +---(uplink: shared with the host)--- eth0 --- internet
#
# Run it as root from anywhere: docs/demo.sh. weft, its ports and all traffic
# live in network namespaces that the script makes, and one of them is the host,
# so this host's own network is never touched. All of it is gone afterwards, also
# after a failure or Ctrl-C.
#
# It needs iproute2, ping, iperf3, qemu-system-x86, busybox and cpio, which
# `make setup` installs, and bin/weft, which `make build` builds. Another weft
# may be named in WEFT.
set -euo pipefail
cd "$(dirname "$0")/.."

weft=${WEFT:-./bin/weft}
switch=wsw-$$ h1=wh1-$$ h2=wh2-$$ internet=wnet-$$ # the namespaces
guest=.cache/guest # kernel and initramfs, kept between runs
tmp=$(mktemp -d)
export WEFT_SOCKET=$tmp/weft.sock # not the one of a weft that serves this host
processes=()
had_settings='' # of namespaces, on this host
[[ ! -d /etc/netns ]] || had_settings=1

say() { printf '\n== %2d s  %s\n' "$SECONDS" "$*"; }
die() { printf 'demo: %s\n' "$*" >&2 && exit 1; }

# `ip netns exec` becomes the command it runs, so $! after it is the process id of
# weft or QEMU itself.

# stop PID: ends a process, at first politely. weft takes its tap away then.
stop() {
	kill "$1" 2>/dev/null || return 0
	for _ in {1..50}; do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

cleanup() {
	local code=$? i
	trap - EXIT
	trap '' INT TERM HUP
	for ((i = ${#processes[@]} - 1; i >= 0; i--)); do
		stop "${processes[i]}"
	done
	for ns in "$switch" "$h1" "$h2" "$internet"; do
		[[ ! -e /run/netns/$ns ]] || ip netns del "$ns"
		rm -rf "/etc/netns/$ns"
	done
	[[ $had_settings ]] || rmdir --ignore-fail-on-non-empty /etc/netns 2>/dev/null || true
	if ((code != 0)) && [[ -e $tmp/weft.log ]]; then
		printf '\ndemo: failed. What weft and QEMU said, and the end of the guest'\''s console:\n' >&2
		tail -n 20 "$tmp"/{weft.log,qemu.log,console} >&2 2>/dev/null || true
	fi
	rm -rf "$tmp"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# wait_for TEXT FILE PID SECONDS: until the process PID has written TEXT.
wait_for() {
	local end=$((SECONDS + $4))
	until grep -qs "$1" "$2"; do
		kill -0 "$3" 2>/dev/null || die "process ended before it said \"$1\""
		((SECONDS < end)) || die "no \"$1\" within $4 seconds"
		sleep 0.1
	done
}

# ping_from NAMESPACE NAME: until the first answer, at most ten seconds. The line
# that ping prints has the name that belongs to the address.
ping_from() {
	ip netns exec "$1" ping -c 1 -i 0.2 -w 10 "$2" | grep 'bytes from' || die "$2 does not answer"
}

# ping6_from NAMESPACE NAME: the same by IPv6, once the addresses that hosts make
# themselves are known by their names.
ping6_from() {
	local end=$((SECONDS + 20))
	until ip netns exec "$1" ping -6 -c 1 -w 2 "$2" 2>/dev/null | grep 'bytes from'; do
		((SECONDS < end)) || die "$2 does not answer by IPv6"
		sleep 0.2
	done
}

# lease_for NAMESPACE INTERFACE NAME: asks by DHCP as a host of that name.
lease_for() {
	ip netns exec "$1" busybox udhcpc -i "$2" -x "hostname:$3" -s "$tmp/udhcpc" -q -n 2>>"$tmp/udhcpc.log" ||
		die "$3 gets no address: $(tail -n 3 "$tmp/udhcpc.log")"
}

((EUID == 0)) || die "run it as root: it makes network namespaces"
[[ -x $weft ]] || die "$weft is missing: run make build first"
for tool in ip ping iperf3 qemu-system-x86_64 busybox cpio; do
	command -v "$tool" >/dev/null || die "$tool is missing: run make setup first"
done

say "Prepare the guest: Debian's own kernel and BusyBox (downloaded once)"
sh ports/porttest/guest/build.sh "$guest"

say "Make four namespaces: one is the host that weft runs on, one the internet"
for ns in "$switch" "$h1" "$h2" "$internet"; do
	ip netns add "$ns"
	ip -n "$ns" link set lo up
	# "ip netns exec" puts this file in the place of /etc/resolv.conf.
	mkdir -p "/etc/netns/$ns"
	echo '# nobody to ask yet' >"/etc/netns/$ns/resolv.conf"
done

# What h1 and h2 do with what DHCP tells them.
cat >"$tmp/udhcpc" <<'SH'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router"
printf 'nameserver %s\nsearch %s\n' "$dns" "$domain" >"/etc/netns/$(ip netns identify)/resolv.conf"
echo "$interface has $ip for $lease seconds, names in $domain from $dns, the way out by $router"
SH
chmod +x "$tmp/udhcpc"

say "Give h2 a veth pair: weft gets one end, h2 the other"
ip -n "$switch" link add h2 type veth peer name eth0 netns "$h2"
ip -n "$switch" link set h2 up
ip -n "$h2" link set eth0 up

say "Give the host an address and a way out, and put a server there"
ip -n "$switch" link add eth0 type veth peer name eth0 netns "$internet"
ip -n "$switch" address add 203.0.113.2/24 dev eth0
ip -n "$switch" link set eth0 up
ip -n "$switch" route add default via 203.0.113.1
ip -n "$switch" address add 2001:db8::2/64 dev eth0 nodad
ip -n "$switch" route add default via 2001:db8::1
ip -n "$internet" address add 203.0.113.1/24 dev eth0
ip -n "$internet" address add 198.51.100.7/32 dev lo
ip -n "$internet" address add 2001:db8::1/64 dev eth0 nodad
ip -n "$internet" address add 2001:db8:7::7/128 dev lo nodad
ip -n "$internet" link set eth0 up
mkdir "$tmp/www"
head -c 8M /dev/urandom >"$tmp/www/file"
file_sum=$(sha256sum <"$tmp/www/file")
ip netns exec "$internet" busybox httpd -f -v -p 80 -h "$tmp/www" 2>"$tmp/httpd.log" &
httpd_pid=$!
processes+=("$httpd_pid")

say "Describe the network to weft"
cat >"$tmp/demo.yaml" <<YAML
lease_file: $tmp/leases.db
networks:
  demo:
    forward: nat
    address: [10.99.0.1/24, ula]
    host_port: weft0
    uplink: {interface: eth0, address: host}
    nat:
      publish: [{protocol: tcp, listen: 8080, to: "10.99.0.3:80"}]
    dhcp:
      range: 10.99.0.100-10.99.0.199
      hosts: [{mac: "52:54:00:99:00:03", address: 10.99.0.3, name: vm1}]
    dns: {domain: demo, name: switch, slaac: true}
    ports:
      h1: {type: internal, netns: $h1}
      h2: {type: raw, interface: h2}
      vm1: {type: tap}
YAML
cat "$tmp/demo.yaml"

say "Start weft, which makes h1's interface, the tap of the guest and the host port"
ip netns exec "$switch" "$weft" run -c "$tmp/demo.yaml" 2>"$tmp/weft.log" &
weft_pid=$!
processes+=("$weft_pid")
wait_for 'weft: ready' "$tmp/weft.log" "$weft_pid" 20

say "Boot the guest with its network card on the tap vm1"
ip netns exec "$switch" qemu-system-x86_64 -nodefaults -no-user-config -display none \
	-machine q35,accel=tcg -m 128 -serial "file:$tmp/console" \
	-kernel "$guest/vmlinuz" -initrd "$guest/initramfs.gz" \
	-netdev tap,id=net0,ifname=vm1,script=no,downscript=no \
	-device virtio-net-pci,netdev=net0,mac=52:54:00:99:00:03,romfile= \
	-append 'console=ttyS0 quiet panic=-1 weft.run=ping -c1 -w10 h1.demo&&ping -c1 -w10 h2.demo&&echo GUEST REACHES BOTH;for s in 198.51.100.7 [2001:db8:7::7];do echo GUEST GOT $s $(wget -qO- http://$s/file|sha256sum);done' 2>"$tmp/qemu.log" &
guest_pid=$!
processes+=("$guest_pid")

say "While it boots: h1 and h2 ask by DHCP"
lease_for "$h1" h1 h1
lease_for "$h2" eth0 h2

say "They ping each other and the gateway, by their names"
ping_from "$h1" h2
ping_from "$h2" h1
ping_from "$h1" switch

say "They have addresses of IPv6, by its advertisements, and ping each other by them"
for ns in "$h1" "$h2"; do
	ip -n "$ns" -6 -brief address show scope global
done
ping6_from "$h1" h2
ping6_from "$h2" h1
ping6_from "$h1" switch

say "TCP between h1 and h2, two seconds each way"
ip netns exec "$h2" iperf3 --server --forceflush >"$tmp/iperf3.log" 2>&1 &
iperf_pid=$!
processes+=("$iperf_pid")
wait_for 'Server listening' "$tmp/iperf3.log" "$iperf_pid" 10
for direction in '' --reverse; do
	ip netns exec "$h1" iperf3 --client h2 --time 2 ${direction:+"$direction"} >"$tmp/stream" || die "$(cat "$tmp/stream")"
	grep receiver "$tmp/stream"
done

say "Wait for the guest, which asks by DHCP too, and pings h1 and h2 by name"
wait_for 'GUEST REACHES BOTH' "$tmp/console" "$guest_pid" 180
grep -E '^PING|bytes from' "$tmp/console"

say "h1 and h2 ping the guest, and so does the host, by weft0"
ping_from "$h1" vm1
ping_from "$h2" vm1
ping_from "$switch" 10.99.0.3
ping6_from "$h1" vm1

say "h1 downloads 4 MiB from the guest, and compares checksums"
ip netns exec "$h1" busybox wget -q -O "$tmp/data" http://vm1/data
ip netns exec "$h1" busybox wget -q -O "$tmp/data.sha256" http://vm1/data.sha256
(cd "$tmp" && sha256sum --check data.sha256)

say "h1 uploads 8 MiB to the guest, and compares checksums"
head -c 8M /dev/urandom >"$tmp/upload"
sent=$(sha256sum <"$tmp/upload")
got=$(ip netns exec "$h1" timeout 60 busybox nc vm1 81 <"$tmp/upload")
printf 'sent %s\ngot  %s\n' "$sent" "$got"
[[ $got == "$sent" ]] || die "the guest got something else"

say "h1 and the guest download 8 MiB from the internet, by NAT, and compare checksums"
by_six=$(ip netns exec "$h1" busybox wget -q -O - 'http://[2001:db8:7::7]/file' | sha256sum)
got=$(ip netns exec "$h1" busybox wget -q -O - http://198.51.100.7/file | sha256sum)
wait_for 'GUEST GOT .*::7. .* -' "$tmp/console" "$guest_pid" 60
printf 'sent                   %s\nh1                     %s\nh1 by IPv6             %s\n' "$file_sum" "$got" "$by_six"
tr -d '\r' <"$tmp/console" | sed -n 's/.*GUEST GOT /guest from /p'
[[ $got == "$file_sum" && $by_six == "$file_sum" && $(grep -c "GUEST GOT .* ${file_sum%% *}" "$tmp/console") == 2 ]] ||
	die "something else has arrived"
cat "$tmp/httpd.log" # whom the server has seen
! grep -Ev '^(\[::ffff:203\.0\.113\.2\]|\[2001:db8::2\]):' "$tmp/httpd.log" || die "the server has seen somebody else"

say "The host uses the same address for itself"
got=$(ip netns exec "$switch" busybox wget -q -O - http://198.51.100.7/file | sha256sum)
[[ $got == "$file_sum" ]] || die "the host got something else"

say "The internet downloads from the guest, by the published port 8080"
ip netns exec "$internet" busybox wget -q -O "$tmp/data" http://203.0.113.2:8080/data
(cd "$tmp" && sha256sum --check data.sha256)

say "weft flow list"
"$weft" flow list
say "weft uplink show eth0"
"$weft" uplink show eth0
say "weft port list"
"$weft" port list
say "weft fdb list"
"$weft" fdb list
say "weft lease list"
"$weft" lease list
say "weft neighbor list"
"$weft" neighbor list

say "Stop all of it and clean up"
for pid in "$guest_pid" "$iperf_pid" "$httpd_pid" "$weft_pid"; do
	stop "$pid"
done
processes=()
for made in vm1 weft0; do
	if ip -n "$switch" link show "$made" >/dev/null 2>&1; then
		die "weft left its interface $made behind"
	fi
done
say "Done in $SECONDS seconds"
