#!/bin/busybox sh
# In the guest's memory disk: load the drivers, find the root partition, go there.
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
for module in $($bb cat /modules/order); do
    $bb insmod "/modules/$module.ko"
done
tries=0
while [ ! -b /dev/vda2 ] && [ $tries -lt 100 ]; do
    $bb usleep 50000
    tries=$((tries + 1))
done
$bb mount -t ext2 /dev/vda2 /root || {
    echo "objstore-guest: no root partition"
    exec $bb sh
}
exec $bb switch_root /root /sbin/init
