#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs in Xen's dom0: xen.sh DISK COMMAND...: starts what a domain needs, boots one whose disk is DISK, served by dom0's blkback, and
# runs COMMAND... in it.
set -e
disk=$1
shift
logs=/var/log/xen
PATH=/usr/lib/xen-4.20/bin:$PATH
mkdir -p /proc/xen /run/xen /run/xenstored /var/lib/xen /var/lib/xenstored $logs/console
# Debian's packages bring a directory, which a maintainer script replaces.
[ -L /var/run ] || { rmdir /var/run && ln -s /run /var/run; }
[ -e /proc/xen/capabilities ] || mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid
for _ in $(seq 100); do
	xenstore-read -s / > /dev/null 2>&1 && break
	sleep 0.1
done
xen-init-dom0 > /dev/null
xenconsoled --log=guest --log-dir=$logs/console --pid-file=/run/xenconsoled.pid
cat > /run/peer.cfg <<END
name = "peer"
kernel = "/guest/Image"
ramdisk = "/guest/initrd"
extra = "quiet console=hvc0 panic=-1 rdinit=/init wait_for=/dev/xvda -- $*"
memory = 256
vcpus = 1
disk = [ "phy:$disk,xvda,w" ]
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
END
# In the foreground: until the domain has ended.
status=0
xl create -F /run/peer.cfg || status=$?
cat $logs/console/guest-peer.log || status=1
[ "$status" = 0 ] || tail -n 40 $logs/*.log
exit "$status"
