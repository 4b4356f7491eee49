// SPDX-License-Identifier: MIT
/*
 * Classic block maps, as old file systems and the resize inode have them: they are read and freed, never extended. 12 direct pointers,
 * then one, two and three levels of blocks full of pointers; zero is a hole. node->map_lock is held.
 */
#include "ext4.h"

#define DIRECT 12u

static u64 pointers(const struct ext4 *fs)
{
	return fs->block_size / sizeof(u32);
}

/* Which of the inode's pointers leads to `logical`, through how many levels; *index in the tree below, *span blocks of one child. */
static long locate(const struct ext4 *fs, u64 logical, u32 *slot, u32 *levels, u64 *index, u64 *span)
{
	u64 size = 1;

	if (logical < DIRECT) {
		*slot = (u32)logical;
		*levels = 0;
		return 0;
	}
	logical -= DIRECT;
	for (*levels = 1; *levels <= 3; (*levels)++) {
		*span = size;
		size *= pointers(fs);
		if (logical < size) {
			*slot = DIRECT + *levels - 1;
			*index = logical;
			return 0;
		}
		logical -= size;
	}
	return -EFBIG;
}

ASYNC_DEFINE(indirect_find)
{
	u32 slot, levels;
	long error;

	ASYNC_BEGIN;
	error = locate(f->fs, f->logical, &slot, &levels, &f->index, &f->span);
	if (error)
		ASYNC_RETURN(error);
	f->block = f->node->data[slot];
	f->level = levels;
	for (; f->level && f->block; f->level--) {
		if (!block_valid(f->fs, f->block, 1))
			ASYNC_RETURN(ext4_corrupt(f->fs, "inode %llu has a pointer to block %llu", (unsigned long long)f->node->inode.number, (unsigned long long)f->block));
		AWAIT(buffer_get, .fs = f->fs, .block = f->block);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->buffer = (struct buffer *)RESULT;
		f->block = ((const u32 *)f->buffer->data)[f->index / f->span];
		f->index %= f->span;
		f->span /= pointers(f->fs);
		buffer_put(f->fs, f->buffer);
	}
	if (f->block && !block_valid(f->fs, f->block, 1))
		ASYNC_RETURN(ext4_corrupt(f->fs, "inode %llu has a pointer to block %llu", (unsigned long long)f->node->inode.number, (unsigned long long)f->block));
	*f->map = (struct ext4_map){f->logical, 1, f->block, f->block ? MAP_WRITTEN : MAP_HOLE};
	ASYNC_RETURN(0);
	ASYNC_END;
}

/* Frees what a pointer leads to, depth first. A pointer that is wrong is left alone. */
ASYNC(free_tree, struct ext4 *fs; struct ext4_node *node; u64 block; u32 levels; struct buffer *buffer; u32 i;)
{
	ASYNC_BEGIN;
	if (!f->block)
		ASYNC_RETURN(0);
	if (!block_valid(f->fs, f->block, 1))
		ASYNC_RETURN(ext4_corrupt(f->fs, "inode %llu has a pointer to block %llu", (unsigned long long)f->node->inode.number, (unsigned long long)f->block));
	if (f->levels) {
		AWAIT(buffer_get, .fs = f->fs, .block = f->block);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->buffer = (struct buffer *)RESULT;
		for (f->i = 0; f->i < pointers(f->fs); f->i++) {
			if (!((const u32 *)f->buffer->data)[f->i])
				continue;
			AWAIT(free_tree, .fs = f->fs, .node = f->node, .block = ((const u32 *)f->buffer->data)[f->i], .levels = f->levels - 1);
		}
		buffer_put(f->fs, f->buffer);
	}
	AWAIT(blocks_free, .fs = f->fs, .first = f->block, .count = 1,
		.metadata = f->levels > 0 || !S_ISREG(f->node->inode.mode));
	f->node->inode.blocks -= min(f->node->inode.blocks, (u64)f->fs->sectors_per_block);
	ASYNC_END;
}

ASYNC_DEFINE(indirect_free)
{
	ASYNC_BEGIN;
	for (f->i = 0; f->i < EXT4_N_BLOCKS; f->i++) {
		AWAIT(free_tree, .fs = f->fs, .node = f->node, .block = f->node->data[f->i], .levels = f->i < DIRECT ? 0 : f->i - DIRECT + 1);
		f->node->data[f->i] = 0;
	}
	ASYNC_END;
}
