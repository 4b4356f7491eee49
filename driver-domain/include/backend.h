/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * /dev/lichen: what the module offers to programs of the driver domain.
 *
 *     /dev/lichen    mmap: the shared regions, each at the offset that BACKEND_REGION tells
 *                    read: 8 bytes of LICHEN_MACHINE_* bits once there are any; poll says when
 *                    ioctl: the calls of the first group
 *     a device       (from BACKEND_CREATE) poll: POLLIN when the view changed since the last BACKEND_VIEW
 *                    ioctl: the calls of the second group. Closing it takes the device away from the frontend.
 *
 * All calls return 0 or a new descriptor, or -1 with errno. Only root opens /dev/lichen.
 */
#ifndef LICHEN_BACKEND_H
#define LICHEN_BACKEND_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>

struct backend_info {
	__u32 slots;
	__u32 channels;
	__u32 regions;
	__u32 frontend_cpus; /* 0: not known */
};

struct backend_region {
	__u32 index; /* in */
	__u32 reserved;
	__u64 start; /* physical address */
	__u64 length;
	__u64 offset; /* for mmap */
};

/* Serve a slot from a block device that is open in the caller (read-only if opened so). */
struct backend_block {
	__u32 slot;
	__s32 fd;
	__u32 queues; /* 0: as many as the frontend has CPUs */
	__u32 read_only;
	char id[20]; /* what VIRTIO_BLK_T_GET_ID answers, padded with zeroes */
	__u32 poll;  /* enum backend_poll */
	__u64 without; /* feature bits that are not offered, though they could be */
};

/* Whether the device is asked for what it has finished, if it has queues that do not interrupt. */
enum backend_poll {
	BACKEND_POLL_AUTO, /* while it answers quickly */
	BACKEND_POLL_ALWAYS,
	BACKEND_POLL_NEVER,
};

#define BACKEND_BLOCK_WITHOUT                                                    \
	(1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX | \
		1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |   \
		1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY |     \
		1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_DISCARD |         \
		1ull << VIRTIO_BLK_F_WRITE_ZEROES)

/* Serve a slot with the echo device (lichen/abi.h). */
struct backend_echo {
	__u32 slot;
	__u32 queues; /* 0: as many as the frontend has CPUs */
};

#define BACKEND_CONFIG_BYTES 256

/* A device that the caller serves itself. */
struct backend_create {
	__u32 slot;
	__u32 device_id;
	__u32 queues;
	__u32 queue_max;
	__u64 features;
	__u32 config_length;
	__u32 reserved;
	__u8 config[BACKEND_CONFIG_BYTES];
};

struct backend_view {
	__u32 generation;
	__u32 status;
	__u64 features; /* the driver's */
};

struct backend_queue {
	__u32 queue; /* in */
	__u32 num;
	__u64 desc; /* physical addresses */
	__u64 driver;
	__u64 device;
	__u32 ready;
	__u32 reserved;
};

struct backend_eventfd {
	__u32 queue;
	__s32 fd; /* -1: none any more */
};

struct backend_config {
	__u32 offset;
	__u32 length;
	__u8 bytes[BACKEND_CONFIG_BYTES];
};

/* On /dev/lichen */
#define BACKEND_INFO   _IOR('L', 0x00, struct backend_info)
#define BACKEND_REGION _IOWR('L', 0x01, struct backend_region)
#define BACKEND_BLOCK  _IOW('L', 0x02, struct backend_block)
#define BACKEND_CREATE _IOW('L', 0x03, struct backend_create) /* returns a device's descriptor */
#define BACKEND_READY  _IO('L', 0x04) /* all devices are there: start the frontends */
#define BACKEND_DRAINED \
	_IO('L', 0x05) /* 1: Linux's own virtio consoles have taken all output, or 0 */
#define BACKEND_ECHO _IOW('L', 0x06, struct backend_echo)

/* On a device */
#define BACKEND_VIEW  _IOR('L', 0x10, struct backend_view)
#define BACKEND_QUEUE _IOWR('L', 0x11, struct backend_queue)
#define BACKEND_KICK \
	_IOW('L', 0x12, struct backend_eventfd) /* signalled when the queue is kicked */
#define BACKEND_CALL \
	_IOW('L', 0x13, struct backend_eventfd) /* signalling it signals the frontend */
#define BACKEND_SIGNAL _IO('L', 0x14)		/* argument: queue; the same, without an eventfd */
#define BACKEND_CONFIG \
	_IOW('L', 0x15, struct backend_config) /* write config space and tell the frontend */
#define BACKEND_RESET_DONE _IO('L', 0x16)      /* argument: the generation */
#define BACKEND_BROKEN	   _IO('L', 0x17)      /* argument: queue; DEVICE_NEEDS_RESET */

#endif
