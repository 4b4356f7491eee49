// SPDX-License-Identifier: MIT
/*
 * From blocks of a file to blocks of the disk, and the page cache's operations on top of it.
 *
 * Allocation is delayed: a write reserves space (delayed ranges), and writeback allocates a whole run of pages at once. The new
 * extent is in the tree before its data is on the disk; commits of that epoch wait for the data (ext4_ordered_begin), so that the
 * disk never shows a file what its blocks held before.
 *
 * Nothing is read ahead of need here: the page cache says how much it wants in one operation.
 */
#include "ext4.h"

/* --- delayed ranges: node->map_lock held --- */

/* The range that holds `block`, or the first one after it; NULL. */
static struct ext4_delayed *delayed_next(struct ext4_node *node, u32 block)
{
	struct rb_node *at = node->delayed.root;
	struct ext4_delayed *best = NULL;

	while (at) {
		struct ext4_delayed *range = rb_entry(at, struct ext4_delayed, node);

		if (block < range->end) {
			best = range;
			at = at->left;
		} else {
			at = at->right;
		}
	}
	return best;
}

/* Is `block` delayed? *end: how far that answer holds. */
static bool delayed_at(struct ext4_node *node, u32 block, u64 *end)
{
	struct ext4_delayed *range = delayed_next(node, block);
	bool in = range && range->start <= block;

	*end = !range ? (u64)1 << 32 : in ? range->end : range->start;
	return in;
}

/* Adds [start, end), which no range holds, from the reserve if it must be. 0 or -ENOMEM. */
static long delayed_add(struct ext4_node *node, u32 start, u32 end, bool reserve)
{
	struct rb_node **link = &node->delayed.root, *parent = NULL;
	struct ext4_delayed *range = node->last_delayed;

	if (range && range->end == start) {
		struct rb_node *after = rb_next(&range->node);

		/* A neighbour behind stays a range of its own: they may touch. */
		if (!after || rb_entry(after, struct ext4_delayed, node)->start >= end) {
			range->end = end;
			return 0;
		}
	}
	range = reserve ? kmalloc_reserve(sizeof(*range)) : kmalloc(sizeof(*range));
	if (!range)
		return -ENOMEM;
	range->start = start;
	range->end = end;
	while (*link) {
		parent = *link;
		link = start < rb_entry(parent, struct ext4_delayed, node)->start ? &parent->left : &parent->right;
	}
	rb_insert(&node->delayed, &range->node, parent, link);
	node->last_delayed = range;
	return 0;
}

static void delayed_erase(struct ext4_node *node, struct ext4_delayed *range)
{
	if (node->last_delayed == range)
		node->last_delayed = NULL;
	rb_erase(&node->delayed, &range->node);
	kfree(range);
}

/* Takes [start, end) out: how many blocks of it were delayed. */
static u32 delayed_remove(struct ext4_node *node, u32 start, u64 end)
{
	struct ext4_delayed *range;
	u32 removed = 0;

	while ((range = delayed_next(node, start)) && range->start < end) {
		u32 from = max(range->start, start), to = (u32)min((u64)range->end, end);

		removed += to - from;
		if (from > range->start && to < range->end) {
			u32 behind = range->end;

			range->end = from;
			/* Without memory the rest is forgotten here, and its reservation kept until the inode goes. */
			if (delayed_add(node, to, behind, true))
				node->lost_delayed += behind - to;
		} else if (from > range->start) {
			range->end = from;
		} else if (to < range->end) {
			range->start = to;
		} else {
			delayed_erase(node, range);
		}
	}
	return removed;
}

void delayed_drop(struct ext4 *fs, struct ext4_node *node, u32 start, u64 end)
{
	u32 n = delayed_remove(node, start, end);

	if (!start && end > ~0u) {
		n += node->lost_delayed;
		node->lost_delayed = 0;
	}
	node->delayed_blocks -= n;
	node->inode.blocks -= min(node->inode.blocks, (u64)n * fs->sectors_per_block);
	blocks_unreserve(fs, n);
	node->hint_end = 0;
}

/* --- lookup and allocation --- */

ASYNC_DEFINE(ext4_map_find)
{
	long error;

	ASYNC_BEGIN;
	if (has_extents(f->node)) {
		error = extent_find_fast(f->fs, f->node, f->logical, f->map);
		if (likely(error != -EAGAIN))
			ASYNC_RETURN(error);
		AWAIT(extent_find, .fs = f->fs, .node = f->node, .logical = f->logical, .map = f->map);
		ASYNC_RETURN(RESULT);
	}
	AWAIT(indirect_find, .fs = f->fs, .node = f->node, .logical = f->logical, .map = f->map);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Where the next block of a file should lie: behind the one before it, else in the inode's group. */
static u64 goal_of(struct ext4 *fs, struct ext4_node *node, u32 logical)
{
	struct ext4_map map;

	if (logical && !extent_find_fast(fs, node, logical - 1, &map) && map.state != MAP_HOLE)
		return map.physical + 1;
	if (node->goal)
		return node->goal;
	return group_first_block(fs, (u32)((node->inode.number - 1) / fs->inodes_per_group)) + fs->blocks_per_group / 8;
}

ASYNC_DEFINE(ext4_map_alloc)
{
	bool delayed;
	u64 end;

	ASYNC_BEGIN;
	if (!has_extents(f->node))
		ASYNC_RETURN(-EOPNOTSUPP);
	AWAIT(ext4_map_find, .fs = f->fs, .node = f->node, .logical = f->logical, .map = f->map);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->length = min(f->length, f->map->length);
	if (f->map->state != MAP_HOLE) {
		f->map->length = f->length;
		ASYNC_RETURN(0);
	}
	delayed = delayed_at(f->node, f->logical, &end);
	f->length = (u32)min((u64)f->length, end - f->logical);
	f->length = min(f->length, EXT4_EXTENT_LENGTH - 1);
	f->delayed = delayed;
	AWAIT(blocks_alloc, .fs = f->fs, .goal = goal_of(f->fs, f->node, f->logical), .want = f->length, .reserved = f->delayed, .first = &f->first);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->length = (u32)RESULT;
	AWAIT(extent_insert, .fs = f->fs, .node = f->node, .logical = f->logical, .physical = f->first, .length = f->length, .unwritten = f->unwritten);
	if (RESULT < 0) {
		f->error = RESULT;
		AWAIT(blocks_free, .fs = f->fs, .first = f->first, .count = f->length);
		ASYNC_RETURN(f->error);
	}
	f->node->goal = f->first + f->length;
	ext4_layout_changed(f->fs, f->node);
	if (f->delayed) {
		delayed_remove(f->node, f->logical, (u64)f->logical + f->length);
		f->node->delayed_blocks -= f->length;
		blocks_unreserve(f->fs, f->length);
	} else {
		f->node->inode.blocks += (u64)f->length * f->fs->sectors_per_block;
	}
	*f->map = (struct ext4_map){f->logical, f->length, f->first, f->unwritten ? MAP_UNWRITTEN : MAP_WRITTEN};
	ASYNC_END;
}

/* --- directories: their blocks are buffers --- */

ASYNC_DEFINE(ext4_dir_block)
{
	ASYNC_BEGIN;
	f->node = node_of(f->dir);
	MAP_READ_LOCK(f->node);
	AWAIT(ext4_map_find, .fs = ext4_of(f->dir), .node = f->node, .logical = f->logical, .map = &f->map);
	rwlock_read_unlock(&f->node->map_lock);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (f->map.state != MAP_WRITTEN)
		ASYNC_RETURN(ext4_corrupt(ext4_of(f->dir), "directory %llu has a hole at block %u", (unsigned long long)f->dir->number, f->logical));
	AWAIT(buffer_get, .fs = ext4_of(f->dir), .block = f->map.physical);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC_DEFINE(ext4_dir_append)
{
	ASYNC_BEGIN;
	f->logical = (u32)(f->dir->size >> ext4_of(f->dir)->block_bits);
	MAP_WRITE_LOCK(node_of(f->dir));
	AWAIT(ext4_map_alloc, .fs = ext4_of(f->dir), .node = node_of(f->dir), .logical = f->logical, .length = 1, .map = &f->map);
	rwlock_write_unlock(&node_of(f->dir)->map_lock);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(buffer_new, .fs = ext4_of(f->dir), .block = f->map.physical);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->dir->size += ext4_of(f->dir)->block_size;
	node_of(f->dir)->disk_size = f->dir->size;
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- freeing --- */

ASYNC_DEFINE(ext4_free_range)
{
	ASYNC_BEGIN;
	do {
		AWAIT(ext4_begin, .fs = ext4_of(f->inode));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		MAP_WRITE_LOCK(node_of(f->inode));
		if (!f->begun)
			delayed_drop(ext4_of(f->inode), node_of(f->inode), f->start, f->end);
		f->begun = true;
		if (has_extents(node_of(f->inode))) {
			AWAIT(extent_remove, .fs = ext4_of(f->inode), .node = node_of(f->inode), .start = f->start, .end = f->end);
		} else if (!f->start) {
			AWAIT(indirect_free, .fs = ext4_of(f->inode), .node = node_of(f->inode));
		} else {
			RESULT = -EOPNOTSUPP;
		}
		f->error = RESULT;
		rwlock_write_unlock(&node_of(f->inode)->map_lock);
		AWAIT(ext4_store, .fs = ext4_of(f->inode), .node = node_of(f->inode));
		if (RESULT < 0 && (!f->error || f->error == -EAGAIN))
			f->error = RESULT;
		ext4_end(ext4_of(f->inode));
	} while (f->error == -EAGAIN);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(ext4_free_blocks_from)
{
	ASYNC_BEGIN;
	AWAIT(ext4_free_range, .inode = f->inode, .start = (u32)min(blocks_of(ext4_of(f->inode), f->size), (u64)~0u), .end = ~0ull);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- the page cache's operations --- */

static struct ext4 *cache_fs(struct page_cache *cache)
{
	return ext4_of(cache->inode);
}

/* Zeroes bytes [from, to) of a run of pages that begins at byte `base` of the file. */
static void pages_zero(struct page **pages, u64 base, u64 from, u64 to)
{
	while (from < to) {
		u64 n = min(to - from, PAGE_SIZE - (from & (PAGE_SIZE - 1)));
		char *data = page_address(pages[(from - base) >> PAGE_SHIFT]);

		memset(data + (from & (PAGE_SIZE - 1)), 0, n);
		from += n;
	}
}

ASYNC(pages_read, PAGE_CACHE_READ_ARGS struct ext4_map map; u64 pos; u64 end; u64 limit; u64 n; long error;)
{
	struct ext4 *fs = cache_fs(f->cache);
	struct ext4_node *node = node_of(f->cache->inode);

	ASYNC_BEGIN;
	f->pos = f->index << PAGE_SHIFT;
	f->limit = (f->index + f->count) << PAGE_SHIFT;
	/* Whole blocks: what lies behind the end of file is zero. That may be all, when the file was truncated meanwhile. */
	f->end = max(f->pos, min(f->limit, align_up(f->cache->inode->size, (u64)fs->block_size)));
	MAP_READ_LOCK(node);
	while (f->pos < f->end) {
		fs = cache_fs(f->cache);
		AWAIT(ext4_map_find, .fs = fs, .node = node_of(f->cache->inode), .logical = (u32)(f->pos >> fs->block_bits), .map = &f->map);
		f->error = RESULT;
		if (f->error)
			break;
		fs = cache_fs(f->cache);
		f->n = min((u64)f->map.length << fs->block_bits, f->end - f->pos);
		if (f->map.state == MAP_WRITTEN) {
			AWAIT(block_io_pages, .device = fs->device, .op = BLOCK_READ, .sector = f->map.physical * fs->sectors_per_block,
				.pages = f->pages + ((f->pos >> PAGE_SHIFT) - f->index), .offset = (u32)(f->pos & (PAGE_SIZE - 1)), .bytes = f->n);
			f->error = RESULT;
			if (f->error)
				break;
		} else {
			pages_zero(f->pages, f->index << PAGE_SHIFT, f->pos, f->pos + f->n);
		}
		f->pos += f->n;
	}
	rwlock_read_unlock(&node_of(f->cache->inode)->map_lock);
	if (!f->error) {
		u64 size = f->cache->inode->size;

		pages_zero(f->pages, f->index << PAGE_SHIFT, f->end, f->limit);
		if (size < f->end && size > f->index << PAGE_SHIFT)
			pages_zero(f->pages, f->index << PAGE_SHIFT, size, f->end);
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

static bool zeroes(struct page **pages, u64 base, u64 from, u64 to)
{
	for (; from < to; from += 8) {
		const char *data = page_address(pages[(from - base) >> PAGE_SHIFT]);

		if (*(const u64 *)(data + (from & (PAGE_SIZE - 1))))
			return false;
	}
	return true;
}

ASYNC_STATIC(pages_write, PAGE_CACHE_WRITE_ARGS struct ext4_map map; u64 pos; u64 end; u64 n; u64 epoch; bool ordered; long error;);

/*
 * Where the blocks at w->pos go: w->map, for w->n bytes, allocated if need be. MAP_HOLE: they need not be written (zeroes in a hole
 * that nobody reserved: what truncation leaves). w->ordered: a commit waits for them.
 */
ASYNC(run_map, struct pages_write_frame *w; struct ext4 *fs; struct ext4_node *node; u64 limit; bool delayed; long error;)
{
	u32 logical;

	ASYNC_BEGIN;
	f->fs = cache_fs(f->w->cache);
	f->node = node_of(f->w->cache->inode);
	f->w->ordered = false;
	MAP_READ_LOCK(f->node);
	AWAIT(ext4_map_find, .fs = f->fs, .node = f->node, .logical = (u32)(f->w->pos >> f->fs->block_bits), .map = &f->w->map);
	logical = (u32)(f->w->pos >> f->fs->block_bits);
	f->delayed = delayed_at(f->node, logical, &f->limit);
	rwlock_read_unlock(&f->node->map_lock);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->w->n = min((u64)f->w->map.length << f->fs->block_bits, f->w->end - f->w->pos);
	if (f->w->map.state != MAP_HOLE)
		ASYNC_RETURN(0);
	f->w->n = min(f->w->n, (f->limit - logical) << f->fs->block_bits);
	if (!f->delayed && zeroes(f->w->pages, f->w->index << PAGE_SHIFT, f->w->pos, f->w->pos + f->w->n))
		ASYNC_RETURN(0);
	AWAIT(ext4_begin, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	MAP_WRITE_LOCK(f->node);
	AWAIT(ext4_map_alloc, .fs = f->fs, .node = f->node, .logical = (u32)(f->w->pos >> f->fs->block_bits),
		.length = (u32)(f->w->n >> f->fs->block_bits), .map = &f->w->map);
	f->error = RESULT;
	rwlock_write_unlock(&f->node->map_lock);
	if (!f->error) {
		f->w->n = min(f->w->n, (u64)f->w->map.length << f->fs->block_bits);
		f->node->disk_size = max(f->node->disk_size, min(f->node->inode.size, f->w->pos + f->w->n));
		if (f->w->map.state == MAP_WRITTEN) {
			f->w->epoch = ext4_ordered_begin(f->fs);
			f->w->ordered = true;
		}
	}
	/* Even after an error: the tree may have changed. */
	AWAIT(ext4_store, .fs = f->fs, .node = f->node);
	if (RESULT < 0 && !f->error)
		f->error = RESULT;
	if (f->error && f->w->ordered) {
		ext4_ordered_end(f->fs, f->w->epoch);
		f->w->ordered = false;
	}
	ext4_end(f->fs);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(ext4_blocks_written)
{
	ASYNC_BEGIN;
	AWAIT(ext4_begin, .fs = ext4_of(f->inode));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (f->length) {
		MAP_WRITE_LOCK(node_of(f->inode));
		AWAIT(extent_written, .fs = ext4_of(f->inode), .node = node_of(f->inode), .start = f->start, .length = f->length);
		f->error = RESULT;
		rwlock_write_unlock(&node_of(f->inode)->map_lock);
	}
	if (!f->error)
		node_of(f->inode)->disk_size = max(node_of(f->inode)->disk_size, f->size);
	ext4_layout_changed(ext4_of(f->inode), node_of(f->inode));
	AWAIT(ext4_store, .fs = ext4_of(f->inode), .node = node_of(f->inode));
	if (RESULT < 0 && !f->error)
		f->error = RESULT;
	ext4_end(ext4_of(f->inode));
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_STATIC_DEFINE(pages_write)
{
	struct ext4 *fs = cache_fs(f->cache);

	ASYNC_BEGIN;
	f->pos = f->index << PAGE_SHIFT;
	f->end = min((f->index + f->count) << PAGE_SHIFT, align_up(f->cache->inode->size, (u64)fs->block_size));
	while (f->pos < f->end) {
		AWAIT(run_map, .w = f);
		f->error = RESULT;
		if (f->error)
			break;
		if (f->map.state != MAP_HOLE) {
			fs = cache_fs(f->cache);
			AWAIT(block_io_pages, .device = fs->device, .op = BLOCK_WRITE, .sector = f->map.physical * fs->sectors_per_block,
				.pages = f->pages + ((f->pos >> PAGE_SHIFT) - f->index), .offset = (u32)(f->pos & (PAGE_SIZE - 1)), .bytes = f->n);
			f->error = RESULT;
			fs = cache_fs(f->cache);
			if (f->ordered)
				ext4_ordered_end(fs, f->epoch);
			if (!f->error && f->map.state == MAP_UNWRITTEN) {
				AWAIT(ext4_blocks_written, .inode = f->cache->inode, .start = f->map.logical,
					.length = (u32)(f->n >> cache_fs(f->cache)->block_bits), .size = min(f->cache->inode->size, f->pos + f->n));
				f->error = RESULT;
			}
			if (f->error)
				break;
		}
		f->pos += f->n;
	}
	/* The file has grown within blocks that it had. */
	if (!f->error && node_of(f->cache->inode)->disk_size < min(f->cache->inode->size, f->end)) {
		AWAIT(ext4_blocks_written, .inode = f->cache->inode, .size = min(f->cache->inode->size, f->end));
		f->error = RESULT;
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* Reserves what is neither mapped nor reserved of blocks [f->at, f->last). */
ASYNC(pages_prepare, PAGE_CACHE_PREPARE_ARGS struct ext4_map map; u64 first; u64 last; u64 at; u64 limit; long error;)
{
	struct ext4_node *node = node_of(f->cache->inode);
	struct ext4 *fs = cache_fs(f->cache);
	u32 n;

	ASYNC_BEGIN;
	if (fs->read_only || fs->failed)
		ASYNC_RETURN(-EROFS);
	f->first = f->at = f->pos >> fs->block_bits;
	f->last = ((f->pos + f->n - 1) >> fs->block_bits) + 1;
	if (f->last > ~0u)
		ASYNC_RETURN(-EFBIG);
	if (f->first >= node->hint_start && f->last <= node->hint_end)
		ASYNC_RETURN(0);
	MAP_WRITE_LOCK(node);
	while (f->at < f->last) {
		if (delayed_at(node_of(f->cache->inode), (u32)f->at, &f->limit)) {
			f->at = f->limit;
			continue;
		}
		AWAIT(ext4_map_find, .fs = cache_fs(f->cache), .node = node_of(f->cache->inode), .logical = (u32)f->at, .map = &f->map);
		f->error = RESULT;
		if (f->error)
			break;
		if (f->map.state != MAP_HOLE) {
			f->at += f->map.length;
			continue;
		}
		node = node_of(f->cache->inode);
		fs = cache_fs(f->cache);
		n = (u32)min((u64)f->map.length, min(f->limit, f->last) - f->at);
		f->error = !has_extents(node) ? -EOPNOTSUPP : blocks_reserve(fs, n) ? 0 : -ENOSPC;
		if (f->error)
			break;
		f->error = delayed_add(node, (u32)f->at, (u32)f->at + n, false);
		if (f->error) {
			blocks_unreserve(fs, n);
			break;
		}
		node->delayed_blocks += n;
		node->inode.blocks += (u64)n * fs->sectors_per_block;
		f->at += n;
	}
	node = node_of(f->cache->inode);
	if (!f->error) {
		if (f->first < node->hint_start || f->first > node->hint_end)
			node->hint_start = f->first;
		node->hint_end = f->at;
	}
	rwlock_write_unlock(&node->map_lock);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

const struct page_cache_ops ext4_page_ops = {
	.read = &pages_read_fn,
	.write = &pages_write_fn,
	.prepare = &pages_prepare_fn,
};
