// SPDX-License-Identifier: MIT
/*
 * /dev/vda and its like: read and write through the device's page cache, or past it with O_DIRECT; fsync flushes the device;
 * the ioctls that mkfs, fdisk, blockdev and mount use.
 *
 * The page cache belongs to an inode of the device's own, shared by all nodes that name it. File systems keep their metadata in
 * buffers of their own (fs/ext4/buffer.h): what this cache shows of a mounted device may be older.
 */
#include <lichen/mm.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <asm/errno.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include "block.h"

static struct block_device *device_of(struct file *file)
{
	return file->private;
}

static u64 device_bytes(const struct block_device *device)
{
	return device->sectors * BLOCK_SECTOR;
}

/* --- the page cache's operations --- */

static struct block_device *cache_device(struct page_cache *cache)
{
	return cache->inode->private;
}

/* Whole pages of [index, index + count) that the device has; *tail: bytes of the page after them. */
static u32 whole_pages(struct block_device *device, u64 index, u32 count, u32 *tail)
{
	u64 bytes = device_bytes(device), at = index << PAGE_SHIFT;
	u64 have = at < bytes ? bytes - at : 0;

	*tail = have >= (u64)count << PAGE_SHIFT ? 0 : (u32)(have & (PAGE_SIZE - 1));
	return (u32)min((u64)count, have >> PAGE_SHIFT);
}

ASYNC(cache_read, PAGE_CACHE_READ_ARGS u32 whole; u32 tail; struct block_segment segment; long error;)
{
	ASYNC_BEGIN;
	f->whole = whole_pages(cache_device(f->cache), f->index, f->count, &f->tail);
	if (f->whole) {
		AWAIT(block_io_pages, .device = cache_device(f->cache), .op = BLOCK_READ, .sector = f->index * (PAGE_SIZE / BLOCK_SECTOR),
			.pages = f->pages, .bytes = (u64)f->whole << PAGE_SHIFT);
		f->error = RESULT;
	}
	for (u32 i = f->whole; i < f->count; i++)
		page_zero(page_address(f->pages[i]));
	if (f->tail && !f->error) {
		f->segment = (struct block_segment){page_phys(f->pages[f->whole]), f->tail};
		AWAIT(block_io, .device = cache_device(f->cache), .op = BLOCK_READ,
			.sector = (f->index + f->whole) * (PAGE_SIZE / BLOCK_SECTOR), .segments = &f->segment, .segment_count = 1);
		f->error = RESULT;
	}
	for (u32 i = 0; i < f->count; i++) {
		if (likely(!f->error))
			page_filled(f->pages[i]);
		else
			page_unlock(f->pages[i]);
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC(cache_write, PAGE_CACHE_WRITE_ARGS u32 whole; u32 tail; struct block_segment segment;)
{
	ASYNC_BEGIN;
	f->whole = whole_pages(cache_device(f->cache), f->index, f->count, &f->tail);
	if (f->whole) {
		AWAIT(block_io_pages, .device = cache_device(f->cache), .op = BLOCK_WRITE, .sector = f->index * (PAGE_SIZE / BLOCK_SECTOR),
			.pages = f->pages, .bytes = (u64)f->whole << PAGE_SHIFT);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (!f->tail)
		ASYNC_RETURN(0);
	f->segment = (struct block_segment){page_phys(f->pages[f->whole]), f->tail};
	AWAIT(block_io, .device = cache_device(f->cache), .op = BLOCK_WRITE,
		.sector = (f->index + f->whole) * (PAGE_SIZE / BLOCK_SECTOR), .segments = &f->segment, .segment_count = 1);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static const struct page_cache_ops cache_ops = {.read = &cache_read_fn, .write = &cache_write_fn};

/* --- open files --- */

ASYNC(node_open, FILE_OPEN_ARGS)
{
	struct block_device *device;

	ASYNC_BEGIN;
	device = block_find_dev(f->inode->rdev);
	if (!device)
		ASYNC_RETURN(-ENXIO);
	f->file->private = device;
	if ((f->file->flags & O_EXCL) && block_claim(device, f->file))
		ASYNC_RETURN(-EBUSY);
	atomic_fetch_add(&device->openers, 1);
	ASYNC_END;
}

/* The last one to close writes and drops the cache, so that a file system mounted later finds what was written. */
ASYNC(node_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	block_release(device_of(f->file), f->file);
	if (atomic_fetch_sub(&device_of(f->file)->openers, 1) > 1)
		ASYNC_RETURN(0);
	AWAIT(page_cache_sync, .cache = &device_of(f->file)->inode->cache, .start = 0, .end = ~0ull);
	AWAIT(page_cache_drop, .cache = &device_of(f->file)->inode->cache, .start = 0, .end = ~0ull);
	ASYNC_RETURN(0);
	ASYNC_END;
}

ASYNC(node_read, FILE_READ_ARGS size_t bytes;)
{
	struct block_device *device = device_of(f->file);

	ASYNC_BEGIN;
	if (!(f->file->flags & O_DIRECT)) {
		AWAIT(page_cache_read, .cache = &device->inode->cache, .to = f->to, .pos = f->pos);
		ASYNC_RETURN(RESULT);
	}
	if (f->pos >= device_bytes(device) || !f->to->left)
		ASYNC_RETURN(0);
	if (f->pos % device->logical_block)
		ASYNC_RETURN(-EINVAL);
	f->bytes = min(f->to->left, device_bytes(device) - f->pos);
	if (unlikely(device->inode->cache.dirty)) {
		AWAIT(page_cache_sync, .cache = &device->inode->cache, .start = f->pos, .end = f->pos + f->bytes);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	AWAIT(block_direct, .device = device_of(f->file), .op = BLOCK_READ, .hipri = f->flags & RWF_HIPRI, .iov = f->to, .sector = f->pos / BLOCK_SECTOR, .bytes = f->bytes);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(node_write, FILE_WRITE_ARGS size_t bytes; long written;)
{
	struct block_device *device = device_of(f->file);

	ASYNC_BEGIN;
	if (device->read_only)
		ASYNC_RETURN(-EPERM);
	if (!f->from->left)
		ASYNC_RETURN(0);
	if (f->pos >= device_bytes(device))
		ASYNC_RETURN(-ENOSPC);
	f->bytes = min(f->from->left, device_bytes(device) - f->pos);
	if (!(f->file->flags & O_DIRECT)) {
		f->from->left = f->bytes;
		AWAIT(page_cache_write, .cache = &device->inode->cache, .from = f->from, .pos = f->pos);
		f->written = RESULT;
	} else {
		if (f->pos % device->logical_block)
			ASYNC_RETURN(-EINVAL);
		if (device->inode->cache.count) {
			AWAIT(page_cache_sync, .cache = &device->inode->cache, .start = f->pos, .end = f->pos + f->bytes);
			AWAIT(page_cache_drop, .cache = &device_of(f->file)->inode->cache, .start = f->pos, .end = f->pos + f->bytes);
		}
		AWAIT(block_direct, .device = device_of(f->file), .op = BLOCK_WRITE, .hipri = f->flags & RWF_HIPRI, .iov = f->from, .sector = f->pos / BLOCK_SECTOR, .bytes = f->bytes);
		f->written = RESULT;
	}
	if (f->written > 0 && (f->file->flags & O_DSYNC)) {
		AWAIT(page_cache_sync, .cache = &device_of(f->file)->inode->cache, .start = f->pos, .end = f->pos + f->bytes);
		if (!RESULT)
			AWAIT(block_flush, .device = device_of(f->file)->whole);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(f->written);
	ASYNC_END;
}

ASYNC(node_fsync, FILE_FSYNC_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(page_cache_sync, .cache = &device_of(f->file)->inode->cache, .start = f->start, .end = f->end);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(block_flush, .device = device_of(f->file)->whole);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static long node_mmap(struct file *file, struct vma *vma)
{
	vma->cache = &device_of(file)->inode->cache;
	return 0;
}

static s64 node_seek(struct file *file, s64 offset, int whence)
{
	s64 bytes = (s64)device_bytes(device_of(file));
	s64 base = whence == SEEK_CUR ? (s64)file->pos : whence == SEEK_END ? bytes : 0;

	if (whence == SEEK_DATA || whence == SEEK_HOLE) {
		if (offset < 0 || offset >= bytes)
			return -ENXIO;
		return whence == SEEK_DATA ? offset : bytes;
	}
	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return -EINVAL;
	if (offset > 0 ? base > bytes - offset : base < -offset)
		return -EINVAL;
	return base + offset;
}

/* --- ioctls --- */

/* Those that answer with a number of `size` bytes: true, and *value. */
static bool node_query(struct file *file, u32 command, u64 *value, u32 *size)
{
	struct block_device *device = device_of(file);

	*size = 4;
	switch (command) {
	case BLKGETSIZE64:
		*value = device_bytes(device);
		*size = 8;
		return true;
	case BLKGETSIZE:
		*value = device->sectors;
		*size = 8;
		return true;
	case BLKSSZGET:
		*value = device->logical_block;
		return true;
	case BLKPBSZGET:
		*value = device->physical_block;
		return true;
	case BLKBSZGET:
		*value = PAGE_SIZE;
		return true;
	case BLKROGET:
		*value = device->read_only;
		return true;
	case BLKIOMIN:
		*value = device->physical_block;
		return true;
	case BLKIOOPT:
		*value = device->optimal_bytes;
		return true;
	case BLKALIGNOFF:
	case BLKDISCARDZEROES:
		*value = 0;
		return true;
	case BLKRAGET:
	case BLKFRAGET:
		*value = 256; /* sectors */
		*size = 8;
		return true;
	case BLKSECTGET:
		*value = min(device->max_sectors, (u64)0xffff);
		*size = 2;
		return true;
	case BLKROTATIONAL:
		*value = 0;
		*size = 2;
		return true;
	default:
		return false;
	}
}

ASYNC(node_clear, struct file *file; enum block_op op; const u64 __user *argument; u64 range[2];)
{
	struct block_device *device = device_of(f->file);

	ASYNC_BEGIN;
	if (!(f->file->mode & FILE_WRITE))
		ASYNC_RETURN(-EBADF);
	AWAIT(copy_in, .to = f->range, .from = f->argument, .n = sizeof(f->range));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	device = device_of(f->file);
	if ((f->range[0] | f->range[1]) % device->logical_block || f->range[0] + f->range[1] < f->range[0] ||
		f->range[0] + f->range[1] > device_bytes(device))
		ASYNC_RETURN(-EINVAL);
	AWAIT(page_cache_sync, .cache = &device->inode->cache, .start = f->range[0], .end = f->range[0] + f->range[1]);
	AWAIT(page_cache_drop, .cache = &device_of(f->file)->inode->cache, .start = f->range[0], .end = f->range[0] + f->range[1]);
	AWAIT(block_clear, .device = device_of(f->file), .op = f->op, .sector = f->range[0] / BLOCK_SECTOR, .sectors = f->range[1] / BLOCK_SECTOR);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(node_ioctl, FILE_IOCTL_ARGS u64 value; u32 bytes; struct hd_geometry geometry;)
{
	struct block_device *device = device_of(f->file);

	ASYNC_BEGIN;
	if (node_query(f->file, f->command, &f->value, &f->bytes)) {
		AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->value, .n = f->bytes);
		ASYNC_RETURN(RESULT);
	}
	if (f->command == BLKFLSBUF) {
		if (!capable(CAP_SYS_ADMIN))
			ASYNC_RETURN(-EACCES);
		AWAIT(page_cache_sync, .cache = &device->inode->cache, .start = 0, .end = ~0ull);
		AWAIT(page_cache_drop, .cache = &device_of(f->file)->inode->cache, .start = 0, .end = ~0ull);
		ASYNC_RETURN(0);
	}
	if (f->command == BLKDISCARD || f->command == BLKZEROOUT) {
		AWAIT(node_clear, .file = f->file, .op = f->command == BLKDISCARD ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES,
			.argument = (const u64 __user *)f->argument);
		ASYNC_RETURN(RESULT);
	}
	if (f->command == HDIO_GETGEO) {
		/* Nobody has heads any more; this is what Linux invents. */
		f->geometry = (struct hd_geometry){.heads = 16, .sectors = 63,
			.cylinders = (unsigned short)min(device->sectors / (16 * 63), (u64)65535), .start = device->first_sector};
		AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->geometry, .n = sizeof(f->geometry));
		ASYNC_RETURN(RESULT);
	}
	if (f->command == BLKRRPART)
		ASYNC_RETURN(device->partition ? -EINVAL : -EBUSY); /* partitions are read once, at boot */
	ASYNC_RETURN(-ENOTTY);
	ASYNC_END;
}

static const struct file_ops node_ops = {
	.open = &node_open_fn,
	.release = &node_release_fn,
	.read = &node_read_fn,
	.write = &node_write_fn,
	.mmap = node_mmap,
	.fsync = &node_fsync_fn,
	.ioctl = &node_ioctl_fn,
	.seek = node_seek,
};

/* Where the inodes of all block devices live: so that sync(2) and writeback find their pages. */
static struct filesystem device_filesystem = {.name = "bdev", .flags = FS_SINGLE};

long block_node_make(struct block_device *device)
{
	static struct superblock *sb; /* devices are registered one after the other, at boot */
	struct inode *inode;

	if (!sb)
		sb = superblock_alloc(&device_filesystem);
	inode = sb ? kzalloc(sizeof(*inode)) : NULL;
	if (!inode)
		return -ENOMEM;
	inode_init(inode, sb, device->dev);
	inode->mode = S_IFBLK | 0660;
	inode->rdev = device->dev;
	inode->size = device_bytes(device);
	inode->private = device;
	page_cache_init(&inode->cache, inode, &cache_ops);
	device->inode = inode;
	return 0;
}

long block_node_register(struct block_device *device)
{
	return device_register(device->name, S_IFBLK | 0660, device->dev, &node_ops, device);
}
