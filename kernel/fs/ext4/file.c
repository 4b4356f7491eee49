// SPDX-License-Identifier: MIT
/*
 * Open regular files. Buffered reads and writes are the page cache's; here are O_DIRECT (no copy, straight between the program's pages
 * and the device), fsync, fallocate, and changes of attributes and size.
 */
#include <lichen/process.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include "ext4.h"

#define INODE_READ_LOCK(i)                                                                         \
	do {                                                                                       \
		if (!rwlock_try_read(&(i)->lock))                                                  \
			AWAIT(rwlock_read, .lock = &(i)->lock);                                    \
	} while (0)
#define INODE_WRITE_LOCK(i)                                                                        \
	do {                                                                                       \
		if (!rwlock_try_write(&(i)->lock, self))                                           \
			AWAIT(rwlock_write, .lock = &(i)->lock);                                   \
	} while (0)

/* --- O_DIRECT --- */

/* n bytes of zeroes to the program: a hole. */
ASYNC(zero_user, struct kiov *to; size_t n; size_t part;)
{
	ASYNC_BEGIN;
	while (f->n) {
		f->part = kiov_zero(f->to, f->n);
		f->n -= f->part;
		if (f->n)
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
		if (f->n && RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

ASYNC(direct_read, struct inode *inode; struct kiov *to; u64 pos; bool hipri; struct ext4_map map; u64 end; size_t n; size_t done; long error;)
{
	struct ext4 *fs = ext4_of(f->inode);

	ASYNC_BEGIN;
	INODE_READ_LOCK(f->inode);
	f->end = f->inode->size;
	if (f->pos >= f->end || !f->to->left)
		goto out;
	if (f->pos % fs->device->logical_block) {
		f->error = -EINVAL;
		goto out;
	}
	if (f->inode->cache.dirty) {
		AWAIT(page_cache_sync, .cache = &f->inode->cache, .start = f->pos, .end = f->pos + f->to->left);
		f->error = RESULT;
		if (f->error)
			goto out;
	}
	/* The last block is read whole, the program hears of what the file has of it. */
	fs = ext4_of(f->inode);
	f->end = min(align_up(f->end, (u64)fs->device->logical_block), f->pos + f->to->left);
	MAP_READ_LOCK(node_of(f->inode));
	while (f->pos < f->end) {
		fs = ext4_of(f->inode);
		f->error = has_extents(node_of(f->inode)) ? extent_find_fast(fs, node_of(f->inode), (u32)(f->pos >> fs->block_bits), &f->map) : -EAGAIN;
		if (unlikely(f->error == -EAGAIN)) {
			AWAIT(ext4_map_find, .fs = fs, .node = node_of(f->inode), .logical = (u32)(f->pos >> fs->block_bits), .map = &f->map);
			f->error = RESULT;
			fs = ext4_of(f->inode);
		}
		if (f->error)
			break;
		f->n = (size_t)min(((u64)f->map.length << fs->block_bits) - (f->pos & (fs->block_size - 1)), f->end - f->pos);
		if (f->map.state == MAP_WRITTEN) {
			AWAIT(block_direct, .device = fs->device, .op = BLOCK_READ, .hipri = f->hipri, .iov = f->to, .bytes = f->n,
				.sector = f->map.physical * fs->sectors_per_block + (f->pos & (fs->block_size - 1)) / BLOCK_SECTOR);
		} else {
			AWAIT(zero_user, .to = f->to, .n = f->n);
			if (!RESULT)
				RESULT = (long)f->n;
		}
		if (RESULT < 0) {
			f->error = RESULT;
			break;
		}
		f->pos += (u64)RESULT;
		f->done += (size_t)RESULT;
		if ((size_t)RESULT < f->n)
			break;
	}
	rwlock_read_unlock(&node_of(f->inode)->map_lock);
	if (f->pos > f->inode->size)
		f->done -= min(f->done, (size_t)(f->pos - f->inode->size));
out:
	rwlock_read_unlock(&f->inode->lock);
	ASYNC_RETURN(f->done ? (long)f->done : f->error);
	ASYNC_END;
}

/* Blocks for a direct write at f->pos: holes become unwritten extents, whose data is not seen before it was written. */
ASYNC(direct_map, struct inode *inode; u64 pos; u64 bytes; struct ext4_map *map; u32 logical; u32 length; long error;)
{
	struct ext4 *fs = ext4_of(f->inode);

	ASYNC_BEGIN;
	f->logical = (u32)(f->pos >> fs->block_bits);
	f->length = (u32)min(blocks_of(fs, (f->pos & (fs->block_size - 1)) + f->bytes), (u64)~0u);
	MAP_READ_LOCK(node_of(f->inode));
	AWAIT(ext4_map_find, .fs = ext4_of(f->inode), .node = node_of(f->inode), .logical = f->logical, .map = f->map);
	rwlock_read_unlock(&node_of(f->inode)->map_lock);
	if (RESULT < 0 || f->map->state != MAP_HOLE)
		ASYNC_RETURN(RESULT);
	AWAIT(ext4_begin, .fs = ext4_of(f->inode));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	MAP_WRITE_LOCK(node_of(f->inode));
	AWAIT(ext4_map_alloc, .fs = ext4_of(f->inode), .node = node_of(f->inode), .logical = f->logical, .length = f->length, .unwritten = true, .map = f->map);
	f->error = RESULT;
	rwlock_write_unlock(&node_of(f->inode)->map_lock);
	AWAIT(ext4_store, .fs = ext4_of(f->inode), .node = node_of(f->inode));
	if (RESULT < 0 && !f->error)
		f->error = RESULT;
	ext4_end(ext4_of(f->inode));
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* One part of a block that is new, or unwritten: the rest of it must become zeroes. Buffered writes do that; O_DIRECT leaves it to them. */
static bool direct_partial(const struct ext4 *fs, const struct ext4_map *map, u64 pos, size_t n)
{
	return map->state != MAP_WRITTEN && ((pos | n) & (fs->block_size - 1));
}

/* Where byte `pos`, which lies in the map's first block, is on the device. */
static u64 sector_of(const struct ext4 *fs, const struct ext4_map *map, u64 pos)
{
	return map->physical * fs->sectors_per_block + (pos & (fs->block_size - 1)) / BLOCK_SECTOR;
}

ASYNC(direct_write, struct file *file; struct kiov *from; u64 pos; u32 flags; struct inode *inode; struct ext4_map map; size_t bytes;
	size_t rest; size_t n; size_t done; long error;)
{
	struct ext4 *fs;

	ASYNC_BEGIN;
	f->inode = f->file->inode;
	INODE_WRITE_LOCK(f->inode);
	f->bytes = f->from->left;
	AWAIT(file_write_begin, .file = f->file, .pos = &f->pos, .n = &f->bytes, .flags = f->flags);
	f->error = RESULT;
	if (!f->error && (f->pos | f->bytes) % ext4_of(f->inode)->device->logical_block)
		f->error = -EINVAL;
	if (!f->error && (f->pos + f->bytes) >> ext4_of(f->inode)->block_bits >= ~0u)
		f->error = -EFBIG;
	if (f->error || !f->bytes)
		goto out;
	if (f->inode->cache.count) {
		AWAIT(page_cache_sync, .cache = &f->inode->cache, .start = f->pos, .end = f->pos + f->bytes);
		AWAIT(page_cache_drop, .cache = &f->inode->cache, .start = f->pos, .end = f->pos + f->bytes);
	}
	while (f->done < f->bytes) {
		AWAIT(direct_map, .inode = f->inode, .pos = f->pos, .bytes = f->bytes - f->done, .map = &f->map);
		f->error = RESULT;
		if (f->error)
			break;
		fs = ext4_of(f->inode);
		f->n = (size_t)min(((u64)f->map.length << fs->block_bits) - (f->pos & (fs->block_size - 1)), (u64)(f->bytes - f->done));
		if (direct_partial(fs, &f->map, f->pos, f->n)) {
			/* By way of the page cache, then at once to the disk. */
			f->rest = f->from->left - f->n;
			f->from->left = f->n;
			AWAIT(page_cache_write, .cache = &f->inode->cache, .from = f->from, .pos = f->pos);
			f->from->left += f->rest;
			if (RESULT > 0) {
				f->n = (size_t)RESULT;
				AWAIT(page_cache_sync, .cache = &f->inode->cache, .start = f->pos, .end = f->pos + f->n);
				if (!RESULT)
					RESULT = (long)f->n;
			}
		} else {
			AWAIT(block_direct, .device = ext4_of(f->inode)->device, .op = BLOCK_WRITE, .hipri = f->flags & RWF_HIPRI,
				.iov = f->from, .bytes = f->n,
				.sector = sector_of(ext4_of(f->inode), &f->map, f->pos));
			if (RESULT > 0 && (f->map.state == MAP_UNWRITTEN || f->pos + (u64)RESULT > node_of(f->inode)->disk_size)) {
				f->n = (size_t)RESULT;
				/* Whole blocks, for direct_partial is false; extending and partial only within a written block. */
				AWAIT(ext4_blocks_written, .inode = f->inode, .start = f->map.logical,
					.length = f->map.state == MAP_UNWRITTEN ? (u32)(f->n >> ext4_of(f->inode)->block_bits) : 0, .size = f->pos + f->n);
				if (!RESULT)
					RESULT = (long)f->n;
			}
		}
		if (RESULT <= 0) {
			f->error = RESULT;
			break;
		}
		f->n = (size_t)RESULT;
		f->pos += f->n;
		f->done += f->n;
		if (f->pos > f->inode->size) {
			f->inode->size = f->pos;
			inode_dirty(f->inode);
		}
		/* Before the next part: a page with blocks of both would be written once more, with this part's as they were. */
		if (f->inode->cache.count)
			AWAIT(page_cache_drop, .cache = &f->inode->cache, .start = f->pos - f->n, .end = f->pos);
	}
out:
	rwlock_write_unlock(&f->inode->lock);
	ASYNC_RETURN(f->done ? (long)f->done : f->error);
	ASYNC_END;
}

ASYNC(ext4_read, FILE_READ_ARGS)
{
	ASYNC_BEGIN;
	if (likely(!(f->file->flags & O_DIRECT))) {
		AWAIT_OP(&file_read_cached_fn, file_read, .file = f->file, .to = f->to, .pos = f->pos, .flags = f->flags);
		ASYNC_RETURN(RESULT);
	}
	AWAIT(direct_read, .inode = f->file->inode, .to = f->to, .pos = f->pos, .hipri = f->flags & RWF_HIPRI);
	file_accessed(f->file);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(ext4_write, FILE_WRITE_ARGS)
{
	ASYNC_BEGIN;
	if (likely(!(f->file->flags & O_DIRECT))) {
		AWAIT_OP(&file_write_cached_fn, file_write, .file = f->file, .from = f->from, .pos = f->pos, .flags = f->flags);
		ASYNC_RETURN(RESULT);
	}
	AWAIT(direct_write, .file = f->file, .from = f->from, .pos = f->pos, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- fsync --- */

/* Data, the inode, everything that leads to it, and the device's cache. */
ASYNC_DECLARE(ext4_fsync, FILE_FSYNC_ARGS struct inode *inode; struct ext4 *fs; u64 wanted;);
ASYNC_DEFINE(ext4_fsync)
{
	ASYNC_BEGIN;
	f->inode = f->file->inode;
	f->fs = ext4_of(f->inode);
	if (f->fs->read_only)
		ASYNC_RETURN(0);
	if (f->inode->cache.ops) {
		AWAIT(page_cache_sync, .cache = &f->inode->cache, .start = f->start, .end = f->end);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->data_only) {
		f->wanted = node_of(f->inode)->layout_changed;
	} else {
		AWAIT(inode_sync, .inode = f->inode);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->wanted = max(node_of(f->inode)->changed, node_of(f->inode)->layout_changed);
	}
	if (f->wanted > atomic_load(&f->fs->buffers.commits_done) || S_ISDIR(f->inode->mode)) {
		AWAIT(ext4_commit, .fs = f->fs);
	} else {
		AWAIT(block_flush, .device = f->fs->device);
	}
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- size and attributes --- */

/* inode->lock held for writing. */
ASYNC(set_size, struct inode *inode; u64 size; u64 old; long error;)
{
	struct ext4 *fs = ext4_of(f->inode);

	ASYNC_BEGIN;
	if (f->size >> fs->block_bits >= ~0u)
		ASYNC_RETURN(-EFBIG);
	f->old = f->inode->size;
	if (f->size < f->old && !has_extents(node_of(f->inode)) && f->size)
		ASYNC_RETURN(-EOPNOTSUPP);
	f->inode->size = f->size;
	if (f->size < f->old) {
		AWAIT(page_cache_truncate, .cache = &f->inode->cache, .size = f->size);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		node_of(f->inode)->disk_size = min(node_of(f->inode)->disk_size, f->size);
		ext4_layout_changed(ext4_of(f->inode), node_of(f->inode));
		AWAIT(ext4_free_blocks_from, .inode = f->inode, .size = f->size);
		ASYNC_RETURN(RESULT);
	}
	/* What a mapping left behind the old end of file must not appear. */
	if (f->old & (PAGE_SIZE - 1)) {
		struct page *page = page_cache_find(&f->inode->cache, f->old >> PAGE_SHIFT);

		if (page) {
			memset((char *)page_address(page) + (f->old & (PAGE_SIZE - 1)), 0, PAGE_SIZE - (f->old & (PAGE_SIZE - 1)));
			page_put(page);
		}
	}
	AWAIT(ext4_blocks_written, .inode = f->inode, .size = f->size);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC_DECLARE(ext4_setattr, INODE_SETATTR_ARGS long error;);
ASYNC_DEFINE(ext4_setattr)
{
	const struct attributes *a = f->attributes;
	struct inode *inode = f->inode;

	ASYNC_BEGIN;
	if (ext4_of(inode)->read_only || ext4_of(inode)->failed)
		ASYNC_RETURN(-EROFS);
	if ((a->valid & ATTR_SIZE) && (S_ISREG(inode->mode))) {
		AWAIT(set_size, .inode = f->inode, .size = f->attributes->size);
		f->error = RESULT;
		a = f->attributes;
		inode = f->inode;
		if (f->error)
			ASYNC_RETURN(f->error);
	}
	if (a->valid & ATTR_MODE)
		inode->mode = (inode->mode & S_IFMT) | (a->mode & ~(mode_t)S_IFMT);
	if (a->valid & ATTR_UID)
		inode->uid = a->uid;
	if (a->valid & ATTR_GID)
		inode->gid = a->gid;
	if (a->valid & ATTR_ATIME)
		inode->atime = a->atime;
	if (a->valid & ATTR_MTIME)
		inode->mtime = a->mtime;
	if (a->valid & ATTR_CTIME)
		inode->ctime = a->ctime;
	inode_dirty(inode);
	ASYNC_END;
}

/* --- fallocate --- */

ASYNC(allocate_range, struct inode *inode; u64 pos; u64 n; u64 at; u64 end; struct ext4_map map; long error;)
{
	struct ext4 *fs = ext4_of(f->inode);

	ASYNC_BEGIN;
	f->at = f->pos >> fs->block_bits;
	f->end = blocks_of(fs, f->pos + f->n);
	while (f->at < f->end && !f->error) {
		AWAIT(ext4_begin, .fs = ext4_of(f->inode));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		MAP_WRITE_LOCK(node_of(f->inode));
		AWAIT(ext4_map_alloc, .fs = ext4_of(f->inode), .node = node_of(f->inode), .logical = (u32)f->at,
			.length = (u32)min(f->end - f->at, (u64)EXT4_EXTENT_LENGTH - 1), .unwritten = true, .map = &f->map);
		f->error = RESULT;
		rwlock_write_unlock(&node_of(f->inode)->map_lock);
		if (!f->error)
			f->at += f->map.length;
		AWAIT(ext4_store, .fs = ext4_of(f->inode), .node = node_of(f->inode));
		if (RESULT < 0 && !f->error)
			f->error = RESULT;
		ext4_end(ext4_of(f->inode));
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* Zeroes [pos, end) within one page, by the page cache. */
ASYNC(zero_part, struct inode *inode; u64 pos; u64 end; struct page *page;)
{
	ASYNC_BEGIN;
	if (f->pos >= f->end)
		ASYNC_RETURN(0);
	AWAIT(page_cache_get, .cache = &f->inode->cache, .index = f->pos >> PAGE_SHIFT);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->page = (struct page *)RESULT;
	/* A hole stays one: zeroes that were not reserved are not written. */
	memset((char *)page_address(f->page) + (f->pos & (PAGE_SIZE - 1)), 0, f->end - f->pos);
	page_cache_dirty(f->page);
	page_put(f->page);
	ASYNC_END;
}

/* Zeroes what the range has of partial pages, and takes the whole ones out. */
ASYNC(punch_range, struct inode *inode; u64 pos; u64 end; u64 first; u64 last;)
{
	ASYNC_BEGIN;
	f->end = min(f->end, align_up(f->inode->size, PAGE_SIZE));
	if (f->pos >= f->end)
		ASYNC_RETURN(0);
	AWAIT(page_cache_sync, .cache = &f->inode->cache, .start = f->pos, .end = f->end);
	AWAIT(page_cache_discard, .cache = &f->inode->cache, .start = f->pos, .end = f->end);
	if (f->pos & (PAGE_SIZE - 1) || f->end - f->pos < PAGE_SIZE) {
		AWAIT(zero_part, .inode = f->inode, .pos = f->pos, .end = min(f->end, align_down(f->pos, PAGE_SIZE) + PAGE_SIZE));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (align_down(f->end, PAGE_SIZE) > f->pos) {
		AWAIT(zero_part, .inode = f->inode, .pos = align_down(f->end, PAGE_SIZE), .end = f->end);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	f->first = align_up(f->pos, PAGE_SIZE) >> ext4_of(f->inode)->block_bits;
	f->last = align_down(f->end, PAGE_SIZE) >> ext4_of(f->inode)->block_bits;
	if (f->first < f->last) {
		AWAIT(ext4_free_range, .inode = f->inode, .start = (u32)f->first, .end = f->last);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(0);
	ASYNC_END;
}

ASYNC(ext4_fallocate, FILE_FALLOCATE_ARGS struct inode *inode; u64 end; long error;)
{
	ASYNC_BEGIN;
	f->inode = f->file->inode;
	f->end = f->pos + f->n;
	if ((f->mode & ~(u32)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) || !has_extents(node_of(f->inode)))
		ASYNC_RETURN(-EOPNOTSUPP);
	if (f->end >> ext4_of(f->inode)->block_bits >= ~0u)
		ASYNC_RETURN(-EFBIG);
	INODE_WRITE_LOCK(f->inode);
	if (f->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		AWAIT(punch_range, .inode = f->inode, .pos = f->pos, .end = f->end);
		f->error = RESULT;
	}
	if (!f->error && !(f->mode & FALLOC_FL_PUNCH_HOLE)) {
		AWAIT(allocate_range, .inode = f->inode, .pos = f->pos, .n = f->n);
		f->error = RESULT;
		if (!f->error && !(f->mode & FALLOC_FL_KEEP_SIZE) && f->end > f->inode->size) {
			AWAIT(set_size, .inode = f->inode, .size = f->end);
			f->error = RESULT;
		}
	}
	if (!f->error)
		inode_touch(f->inode, ATTR_MTIME | ATTR_CTIME);
	rwlock_write_unlock(&f->inode->lock);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

const struct file_ops ext4_file_ops = {
	.read = &ext4_read_fn,
	.write = &ext4_write_fn,
	.fsync = &ext4_fsync_fn,
	.fallocate = &ext4_fallocate_fn,
	.mmap = file_mmap_cached,
};

/* Also of directories and links, which have no pages. */
const struct inode_ops ext4_file_inode_ops = {
	.setattr = &ext4_setattr_fn,
	.getxattr = &ext4_getxattr_fn,
};
const struct inode_ops ext4_special_inode_ops = {
	.setattr = &ext4_setattr_fn,
	.getxattr = &ext4_getxattr_fn,
};
