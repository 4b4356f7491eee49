/* SPDX-License-Identifier: MIT */
/* Inside the block layer: what registration (device.c), partition tables (partition.c) and device nodes (node.c) share. */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <lichen/block.h>
#include <lichen/vfs.h>

#define BLOCK_EXTENDED_MAJOR 259 /* of partitions beyond the disk's own minors */
#define BLOCK_MINORS	     16

/* Finds the partitions of a whole device and adds them: 0, or -errno of a read. */
ASYNC_DECLARE(partitions_scan, struct block_device *device; struct page *page; struct block_segment segment;
	u64 first_extended; long error;);
/* A partition of [first, first + sectors); checks it against the disk. The partition, -EINVAL, -ENOMEM. */
struct block_device *partition_add(struct block_device *whole, u32 number, u64 first, u64 sectors);

/* Its inode with the page cache; then, once block_find_dev() knows it, its node in /dev. 0 or -errno. */
long block_node_make(struct block_device *device);
long block_node_register(struct block_device *device);

/* Bytes at a sector into (or from) memory of one page. */
#define BLOCK_READ_PAGE(dev, at, length)                                                           \
	f->segment = (struct block_segment){page_phys(f->page), (u32)(length)};                    \
	AWAIT(block_io, .device = (dev), .op = BLOCK_READ, .sector = (at), .segments = &f->segment,\
		.segment_count = 1)

#endif
