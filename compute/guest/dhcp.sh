#!/bin/busybox sh
# What udhcpc calls with the address it was given.
[ "$1" = bound ] || exit 0
ip addr flush dev "$interface"
ip addr add "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || ip route add default via "$router" dev "$interface"
