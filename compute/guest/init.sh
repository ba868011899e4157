#!/bin/busybox sh
# Process 1 of the guest. It says on the console which machine this is, runs the machine's user data once, and offers a shell.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
[ -c /dev/null ] || mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/config /run/metadata
[ -d /sys/class/net/eth0 ] && { ip link set lo up; ip link set eth0 up; }
acpid -d >/dev/null 2>&1 &

# fetch PATH: what the metadata service has there; fails if it has nothing.
fetch() {
    printf 'GET %s HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n' "$1" | nc -w 10 169.254.169.254 80 >/run/answer 2>/dev/null
    head -n 1 /run/answer | grep -q ' 200 ' || return 1
    sed '1,/^\r*$/d' /run/answer
}

# text KEY FILE: the value of a text in a JSON document.
text() {
    sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' "$2" | head -n 1
}

source=none
drive=$(findfs LABEL=config-2 2>/dev/null)
if [ -n "$drive" ] && mount -t iso9660 -o ro "$drive" /run/config 2>/dev/null; then
    cp /run/config/openstack/latest/meta_data.json /run/metadata/ && source=config-drive
    cp /run/config/openstack/latest/user_data /run/metadata/ 2>/dev/null
    umount /run/config
elif [ -d /sys/class/net/eth0 ] && udhcpc -i eth0 -n -q -t 5 -T 2 -s /etc/dhcp >/dev/null 2>&1; then
    if fetch /openstack/latest/meta_data.json >/run/metadata/meta_data.json; then
        source=metadata
        fetch /openstack/latest/user_data >/run/metadata/user_data || rm -f /run/metadata/user_data
        echo "objstore-guest: ec2 $(fetch /latest/meta-data/instance-id) $(fetch /latest/meta-data/hostname)"
    fi
fi

uuid=$(text uuid /run/metadata/meta_data.json 2>/dev/null)
[ -f /root/kept ] && echo "objstore-guest: kept $(cat /root/kept)"
if [ "$uuid" != "$(cat /var/machine 2>/dev/null)" ]; then
    head -c 2 /run/metadata/user_data 2>/dev/null | grep -q '#!' && sh /run/metadata/user_data
    echo "$uuid" >/var/machine
    sync
fi
boots=$(($(cat /var/boots 2>/dev/null || echo 0) + 1))
echo $boots >/var/boots
sync
echo "objstore-guest: ready uuid=$uuid hostname=$(text hostname /run/metadata/meta_data.json 2>/dev/null) source=$source boots=$boots"
while :; do
    setsid cttyhack sh
done
