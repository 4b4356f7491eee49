/* SPDX-License-Identifier: MIT */
/*
 * A file system on the host: the real page cache (kernel/mm/) and inode cache (kernel/fs/inode.c), a block device in memory, and stubs of
 * what neither a dentry nor a process is needed for.
 */
#ifndef SHIM_FS_H
#define SHIM_FS_H

#include <lichen/block.h>
#include <lichen/vfs.h>

/* A disk over memory. Requests are done by a task, in any order, some time later. */
struct memory_disk {
	struct block_device block;
	char *data;
	size_t bytes;
	u64 writes_left; /* ~0: all; else the device fails after that many */
	bool immediate; /* at once, in submit */
};
void memory_disk_init(struct memory_disk *disk, void *data, size_t bytes);

/* The superblock of a mounted image: 0 and *sb, or -errno. */
long fs_mount(struct memory_disk *disk, bool read_only, struct superblock **sb);
/* Everything is written and evicted. 0 or -errno. */
long fs_unmount(struct superblock *sb);
/* Evicts some unused inodes. */
ASYNC_DECLARE(fs_shrink, u32 n;);
extern struct filesystem *shim_filesystem; /* the one that registered */

#endif
