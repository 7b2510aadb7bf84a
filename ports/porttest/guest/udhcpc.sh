#!/bin/busybox sh
# What udhcpc calls when a lease begins, changes or ends.
case $1 in
deconfig)
	ip address flush dev "$interface"
	;;
bound | renew)
	ip address replace "$ip/$mask" dev "$interface"
	[ -z "$router" ] || ip route replace default via "${router%% *}"
	: >/etc/resolv.conf
	for server in $dns; do
		echo "nameserver $server" >>/etc/resolv.conf
	done
	;;
esac
