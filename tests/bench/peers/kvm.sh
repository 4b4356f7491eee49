#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs on the KVM host: kvm.sh DISK COMMAND...: boots a guest under Debian's QEMU, its virtio-blk disk is DISK, and runs COMMAND...
# in it. The I/O thread does not poll: under -icount its spinning would be charged to the requests.
disk=$1
shift
exec qemu-system-aarch64 -nodefaults -no-user-config -display none -no-reboot \
	-machine virt,gic-version=host -accel kvm -cpu host -m 256M \
	-kernel /guest/Image -initrd /guest/initrd \
	-append "quiet console=ttyAMA0 panic=-1 rdinit=/init wait_for=/dev/vda -- $*" \
	-chardev stdio,id=console,signal=off -serial chardev:console \
	-object iothread,id=io,poll-max-ns=0 -drive "if=none,id=disk,format=raw,cache=none,aio=io_uring,file=$disk" \
	-device virtio-blk-pci,drive=disk,iothread=io,romfile= < /dev/null
