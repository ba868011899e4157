#!/bin/busybox sh
# What acpid calls when the power button is pressed.
echo "objstore-guest: powering off" >/dev/console
sync
mount -o remount,ro /
poweroff -f
