/* SPDX-License-Identifier: MIT */
/*
 * Block devices: what a driver (virtio/blk.c) gives and file systems use. Memory named in a request lies in the pool.
 * No request is copied and none allocates on the way: it lies in the caller's frame.
 */
#ifndef LICHEN_BLOCK_H
#define LICHEN_BLOCK_H

#include <lichen/async.h>
#include <lichen/wait.h>
#include <lichen/page.h>

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_segment {
	phys_addr_t address;
	u32 bytes;
};

struct block_request {
	enum block_op op;
	u64 sector; /* of 512 bytes */
	u64 sectors; /* discard and write zeroes; else the segments' sum */
	const struct block_segment *segments; /* until it is done */
	u32 segment_count;
	u32 flags;
	_Atomic s32 status; /* -EINPROGRESS, then 0 or -errno */
	void (*done)(struct block_request *request); /* interrupt context; NULL: wakes `task` */
	struct task *task;
	struct wait_queue *wait;
	void *driver; /* the driver's, while in flight */
	struct list node;   /* the driver's queue when the ring is full */
};

struct block_device {
	char name[32]; /* "vda", "vda1" */
	dev_t dev;
	u64 sectors;
	u64 first_sector; /* in `whole` */
	struct block_device *whole; /* of a partition; itself else */
	u32 logical_block, physical_block; /* bytes */
	u32 max_segments;
	u64 max_sectors, max_discard_sectors, max_zeroes_sectors;
	bool read_only, has_flush, has_discard, has_write_zeroes;
	const struct block_ops *ops;
	void *driver;
	struct inode *inode; /* its page cache: /dev/NAME and the file system's metadata */
	_Atomic u32 openers;
	struct file *exclusive; /* mounted, or O_EXCL */
	_Atomic u64 reads, writes, sectors_read, sectors_written;
	struct list node;
};

struct block_ops {
	/* Takes the request; never blocks; done() is called exactly once, possibly before it returns. */
	void (*submit)(struct block_device *device, struct block_request *request);
};

/* Reads the partition table (GPT, MBR), makes /dev/NAME and /dev/NAMEn. 0 or -errno. */
ASYNC_DECLARE(block_register, struct block_device *device; u64 aux[8];);
struct block_device *block_find(const char *name); /* "/dev/vda1", "vda1"; NULL */
struct block_device *block_find_dev(dev_t dev);

/* One request from start to end: 0 or -errno. Uninterruptible. -EIO beyond the end. */
ASYNC_DECLARE(block_io, struct block_device *device; enum block_op op; u64 sector; u64 sectors;
	const struct block_segment *segments; u32 segment_count; struct block_request request; u32 ticket; struct wait_queue queue;);
/* Consecutive pages of a page cache to or from a run of sectors. */
ASYNC_DECLARE(block_io_pages, struct block_device *device; enum block_op op; u64 sector; struct page **pages; u32 count; u64 aux[10];
	struct block_segment segments[8];);
ASYNC_DECLARE(block_flush, struct block_device *device;);

#endif
