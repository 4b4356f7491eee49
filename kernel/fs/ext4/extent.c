// SPDX-License-Identifier: MIT
/*
 * Extent trees. The root lies in the inode (node->data), the other nodes in blocks of their own, each with a checksum. Nothing
 * here keeps a pointer into a node across an await: positions are searched again, which the tree's few levels make cheap.
 *
 * The caller holds node->map_lock: for reading to look, for writing (and within an operation) to change.
 */
#include <lichen/crc.h>
#include "ext4.h"

#define REMOVE_ROUNDS 128 /* extents an operation */
#define ROOT_ENTRIES  ((u32)((sizeof(u32) * EXT4_N_BLOCKS - sizeof(struct ext4_extent_header)) / sizeof(struct ext4_extent)))

static struct ext4_extent_header *root_of(struct ext4_node *node)
{
	return (struct ext4_extent_header *)node->data;
}
static struct ext4_extent *extents(struct ext4_extent_header *header)
{
	return (struct ext4_extent *)(header + 1);
}
static struct ext4_extent_index *indexes(struct ext4_extent_header *header)
{
	return (struct ext4_extent_index *)(header + 1);
}
static u64 extent_start(const struct ext4_extent *e)
{
	return wide(e->start_lo, e->start_hi);
}
static bool extent_unwritten(const struct ext4_extent *e)
{
	return e->len > EXT4_EXTENT_LENGTH;
}
static u32 extent_length(const struct ext4_extent *e)
{
	return extent_unwritten(e) ? e->len - EXT4_EXTENT_LENGTH : e->len;
}
static u64 index_child(const struct ext4_extent_index *index)
{
	return wide(index->leaf_lo, index->leaf_hi);
}

static void extent_set(struct ext4_extent *e, u32 logical, u64 physical, u32 length, bool unwritten)
{
	e->block = logical;
	e->len = (u16)(length + (unwritten ? EXT4_EXTENT_LENGTH : 0));
	e->start_lo = (u32)physical;
	e->start_hi = (u16)(physical >> 32);
}

static void index_set(struct ext4_extent_index *index, u32 logical, u64 child)
{
	index->block = logical;
	index->leaf_lo = (u32)child;
	index->leaf_hi = (u16)(child >> 32);
	index->unused = 0;
}

static u32 node_capacity(const struct ext4 *fs)
{
	return (u32)((fs->block_size - sizeof(struct ext4_extent_header)) / sizeof(struct ext4_extent));
}

static u32 extents_checksum(u32 seed, const char *data)
{
	const struct ext4_extent_header *header = (const struct ext4_extent_header *)data;

	return crc32c(seed, data, sizeof(*header) + header->max * sizeof(struct ext4_extent));
}

void extent_seal(struct ext4 *fs, struct buffer *buffer)
{
	struct ext4_extent_header *header = (struct ext4_extent_header *)buffer->data;
	u32 crc;

	if (!fs->has_checksums)
		return;
	crc = extents_checksum(buffer->seed, buffer->data);
	memcpy(buffer->data + sizeof(*header) + header->max * sizeof(struct ext4_extent), &crc, sizeof(crc));
}

/* One node of the tree, `max` entries at most: 0 or -EUCLEAN. */
static long node_check(struct ext4 *fs, struct ext4_node *node, struct ext4_extent_header *header, u32 capacity, u32 depth)
{
	u64 end = 0;

	if (header->magic != EXT4_EXTENT_MAGIC || header->entries > header->max || header->max > capacity || !header->max ||
		header->depth != depth || (depth && !header->entries))
		goto bad;
	for (u32 i = 0; i < header->entries; i++) {
		if (depth) {
			const struct ext4_extent_index *index = &indexes(header)[i];

			if ((i && index->block < end) || !block_valid(fs, index_child(index), 1))
				goto bad;
			end = (u64)index->block + 1;
		} else {
			const struct ext4_extent *e = &extents(header)[i];

			if (e->block < end || !extent_length(e) || !block_valid(fs, extent_start(e), extent_length(e)))
				goto bad;
			end = (u64)e->block + extent_length(e);
			if (end > (u64)1 << 32)
				goto bad;
		}
	}
	return 0;
bad:
	return ext4_corrupt(fs, "the extent tree of inode %llu is wrong", (unsigned long long)node->inode.number);
}

static long buffer_check(struct ext4 *fs, struct ext4_node *node, struct buffer *buffer, u32 depth)
{
	struct ext4_extent_header *header = (struct ext4_extent_header *)buffer->data;
	u32 crc;
	long error;

	if (buffer->kind == KIND_EXTENTS && buffer->seed == node->seed) {
		if (likely(header->depth == depth))
			return 0;
		return ext4_corrupt(fs, "the extent tree of inode %llu has a loop", (unsigned long long)node->inode.number);
	}
	if (buffer->kind != KIND_NONE)
		return ext4_corrupt(fs, "block %llu of inode %llu's extent tree is something else, too",
			(unsigned long long)buffer->block, (unsigned long long)node->inode.number);
	error = node_check(fs, node, header, node_capacity(fs), depth);
	if (error)
		return error;
	if (fs->has_checksums) {
		u32 at = (u32)(sizeof(*header) + header->max * sizeof(struct ext4_extent));

		if (at + sizeof(crc) > fs->block_size)
			return ext4_corrupt(fs, "an extent block of inode %llu has no room for its checksum", (unsigned long long)node->inode.number);
		memcpy(&crc, buffer->data + at, sizeof(crc));
		if (crc != extents_checksum(node->seed, buffer->data))
			return ext4_corrupt(fs, "an extent block of inode %llu has a wrong checksum", (unsigned long long)node->inode.number);
	}
	buffer->kind = KIND_EXTENTS;
	buffer->seed = node->seed;
	return 0;
}

long extent_root_check(struct ext4 *fs, struct ext4_node *node)
{
	struct ext4_extent_header *root = root_of(node);

	if (root->depth > EXT4_EXTENT_DEPTH)
		return ext4_corrupt(fs, "the extent tree of inode %llu is too deep", (unsigned long long)node->inode.number);
	return node_check(fs, node, root, ROOT_ENTRIES, root->depth);
}

void extent_init(struct ext4_node *node)
{
	memset(node->data, 0, sizeof(node->data));
	*root_of(node) = (struct ext4_extent_header){.magic = EXT4_EXTENT_MAGIC, .max = (u16)ROOT_ENTRIES};
}

/* The last entry that begins at or before `logical`; -1: none. Index and leaf entries begin with their block, and are as large. */
static s32 search(struct ext4_extent_header *header, u32 logical)
{
	s32 low = 0, high = header->entries;

	while (low < high) {
		s32 middle = (low + high) / 2;

		if (extents(header)[middle].block <= logical)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

/* In index nodes what lies before the first entry belongs to it. */
static u32 search_index(struct ext4_extent_header *header, u32 logical)
{
	s32 at = search(header, logical);

	return at < 0 ? 0 : (u32)at;
}

static void leaf_map(struct ext4_extent_header *leaf, u32 logical, u64 limit, struct ext4_map *map)
{
	s32 at = search(leaf, logical);

	if (at >= 0) {
		const struct ext4_extent *e = &extents(leaf)[at];
		u32 into = logical - e->block;

		if (into < extent_length(e)) {
			*map = (struct ext4_map){logical, extent_length(e) - into, extent_start(e) + into,
				extent_unwritten(e) ? MAP_UNWRITTEN : MAP_WRITTEN};
			return;
		}
	}
	if ((u32)(at + 1) < leaf->entries)
		limit = extents(leaf)[at + 1].block;
	*map = (struct ext4_map){logical, (u32)min(limit - logical, (u64)~0u), 0, MAP_HOLE};
	if (!map->length) /* a child that begins beyond its parent's key */
		map->length = 1;
}

/* As extent_find; *missing: the block that must be read first (-EAGAIN). */
static long find(struct ext4 *fs, struct ext4_node *node, u32 logical, struct ext4_map *map, u64 *missing)
{
	struct ext4_extent_header *header = root_of(node);
	struct buffer *buffer = NULL, *child;
	u64 limit = (u64)1 << 32;
	u32 depth = header->depth;
	long error = 0;

	while (depth--) {
		u32 at = search_index(header, logical);

		if (at + 1 < header->entries)
			limit = min(limit, (u64)indexes(header)[at + 1].block);
		*missing = index_child(&indexes(header)[at]);
		child = buffer_find(fs, *missing);
		if (buffer)
			buffer_put(fs, buffer);
		buffer = child;
		if (!buffer)
			return -EAGAIN;
		error = buffer_check(fs, node, buffer, depth);
		if (error)
			break;
		header = (struct ext4_extent_header *)buffer->data;
	}
	if (!error)
		leaf_map(header, logical, max(limit, (u64)logical), map);
	if (buffer)
		buffer_put(fs, buffer);
	return error;
}

long extent_find_fast(struct ext4 *fs, struct ext4_node *node, u32 logical, struct ext4_map *map)
{
	u64 missing;

	return find(fs, node, logical, map, &missing);
}

ASYNC_DEFINE(extent_find)
{
	long error;

	ASYNC_BEGIN;
	for (;;) {
		error = find(f->fs, f->node, f->logical, f->map, &f->child);
		if (f->buffer)
			buffer_put(f->fs, f->buffer);
		if (error != -EAGAIN)
			ASYNC_RETURN(error);
		AWAIT(buffer_get, .fs = f->fs, .block = f->child);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->buffer = (struct buffer *)RESULT; /* kept until it was looked at */
	}
	ASYNC_END;
}

/* --- paths, for changes --- */

static struct ext4_extent_header *level_header(struct ext4_node *node, struct buffer **path, u32 level)
{
	return level ? (struct ext4_extent_header *)path[level]->data : root_of(node);
}

static void path_put(struct ext4 *fs, struct buffer **path)
{
	for (u32 i = 0; i <= EXT4_EXTENT_DEPTH; i++) {
		if (path[i])
			buffer_put(fs, path[i]);
		path[i] = NULL;
	}
}

/* Of an index node: the block below that leads to `logical`. */
static u64 child_of(struct ext4_extent_header *header, u32 logical)
{
	return index_child(&indexes(header)[search_index(header, logical)]);
}

/* The blocks from the root's child to the leaf for `logical`, each accessible for changes; the depth in RESULT. */
ASYNC(path_get_for, struct ext4 *fs; struct ext4_node *node; u32 logical; struct buffer **path; u32 level;)
{
	long error;

	ASYNC_BEGIN;
	for (f->level = 0; level_header(f->node, f->path, f->level)->depth; f->level++) {
		AWAIT(buffer_get, .fs = f->fs, .block = child_of(level_header(f->node, f->path, f->level), f->logical));
		if (IS_ERR((void *)RESULT)) {
			path_put(f->fs, f->path);
			ASYNC_RETURN(RESULT);
		}
		f->path[f->level + 1] = (struct buffer *)RESULT;
		error = buffer_check(f->fs, f->node, f->path[f->level + 1], level_header(f->node, f->path, f->level)->depth - 1u);
		if (error) {
			path_put(f->fs, f->path);
			ASYNC_RETURN(error);
		}
		BUFFER_ACCESS(f->fs, f->path[f->level + 1]);
	}
	ASYNC_RETURN(f->level);
	ASYNC_END;
}

/* A node of the path was changed. The root goes to the disk with the inode: who changes the tree stores it. */
static void level_dirty(struct ext4 *fs, struct buffer **path, u32 level)
{
	if (level)
		buffer_dirty_unsealed(fs, path[level]);
}

/* The first entry of the node at `level` has changed: so do the keys above. */
static void keys_update(struct ext4 *fs, struct ext4_node *node, struct buffer **path, u32 level, u32 logical)
{
	u32 key = extents(level_header(node, path, level))[0].block;

	while (level--) {
		struct ext4_extent_header *header = level_header(node, path, level);
		u32 at = search_index(header, logical);

		indexes(header)[at].block = key;
		level_dirty(fs, path, level);
		if (at)
			break;
	}
}

/* Takes entry `at` out of a node. */
static void entry_delete(struct ext4_extent_header *header, u32 at)
{
	memmove(&extents(header)[at], &extents(header)[at + 1], (header->entries - at - 1u) * sizeof(struct ext4_extent));
	header->entries--;
}

/* Makes room for an entry at `at`. */
static void entry_insert(struct ext4_extent_header *header, u32 at)
{
	memmove(&extents(header)[at + 1], &extents(header)[at], (header->entries - at) * sizeof(struct ext4_extent));
	header->entries++;
}

static u32 length_max(bool unwritten)
{
	return unwritten ? EXT4_EXTENT_LENGTH - 1 : EXT4_EXTENT_LENGTH;
}

static bool follows(const struct ext4_extent *a, u32 logical, u64 physical, u32 length, bool unwritten)
{
	return extent_unwritten(a) == unwritten && a->block + extent_length(a) == logical &&
	       extent_start(a) + extent_length(a) == physical && extent_length(a) + length <= length_max(unwritten);
}

/* Puts the extent into the leaf of the path, merged with its neighbours if they continue each other: false if it is full. */
static bool leaf_insert(struct extent_insert_frame *f)
{
	struct ext4_extent_header *leaf = level_header(f->node, f->path, f->depth);
	struct ext4_extent *e = extents(leaf);
	s32 at = search(leaf, f->logical);

	if (at >= 0 && follows(&e[at], f->logical, f->physical, f->length, f->unwritten)) {
		extent_set(&e[at], e[at].block, extent_start(&e[at]), extent_length(&e[at]) + f->length, f->unwritten);
		if ((u32)at + 1 < leaf->entries && extent_unwritten(&e[at + 1]) == f->unwritten &&
			follows(&e[at], e[at + 1].block, extent_start(&e[at + 1]), extent_length(&e[at + 1]), f->unwritten)) {
			extent_set(&e[at], e[at].block, extent_start(&e[at]), extent_length(&e[at]) + extent_length(&e[at + 1]), f->unwritten);
			entry_delete(leaf, (u32)at + 1);
		}
	} else if ((u32)(at + 1) < leaf->entries && extent_unwritten(&e[at + 1]) == f->unwritten &&
		   e[at + 1].block == f->logical + f->length && extent_start(&e[at + 1]) == f->physical + f->length &&
		   extent_length(&e[at + 1]) + f->length <= length_max(f->unwritten)) {
		extent_set(&e[at + 1], f->logical, f->physical, extent_length(&e[at + 1]) + f->length, f->unwritten);
		if (at + 1 == 0)
			keys_update(f->fs, f->node, f->path, f->depth, f->logical);
	} else {
		if (leaf->entries == leaf->max)
			return false;
		entry_insert(leaf, (u32)(at + 1));
		extent_set(&e[at + 1], f->logical, f->physical, f->length, f->unwritten);
		if (at + 1 == 0)
			keys_update(f->fs, f->node, f->path, f->depth, f->logical);
	}
	level_dirty(f->fs, f->path, f->depth);
	return true;
}

/* A new tree block: its buffer in f->buffer, formatted empty. */
ASYNC(tree_block, struct ext4 *fs; struct ext4_node *node; u32 depth; u64 goal; u64 block; struct buffer *buffer;)
{
	struct ext4_extent_header *header;
	u32 capacity;

	ASYNC_BEGIN;
	AWAIT(blocks_alloc, .fs = f->fs, .goal = f->goal, .want = 1, .reserved = true, .first = &f->block);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(buffer_new, .fs = f->fs, .block = f->block);
	if (IS_ERR((void *)RESULT)) {
		AWAIT(blocks_free, .fs = f->fs, .first = f->block, .count = 1);
		ASYNC_RETURN(-ENOMEM);
	}
	f->buffer = (struct buffer *)RESULT;
	f->buffer->kind = KIND_EXTENTS;
	f->buffer->seed = f->node->seed;
	header = (struct ext4_extent_header *)f->buffer->data;
	capacity = node_capacity(f->fs);
	/* With room for the checksum, whether there is one or not, as all others make it. */
	while (sizeof(*header) + capacity * sizeof(struct ext4_extent) + sizeof(u32) > f->fs->block_size)
		capacity--;
	*header = (struct ext4_extent_header){.magic = EXT4_EXTENT_MAGIC, .max = (u16)capacity, .depth = (u16)f->depth};
	f->node->inode.blocks += f->fs->sectors_per_block;
	buffer_dirty_unsealed(f->fs, f->buffer);
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

/* The root is full: what it holds moves into a block, and the tree is one level deeper. */
static void root_grow(struct ext4_node *node, struct buffer *buffer)
{
	struct ext4_extent_header *root = root_of(node), *header = (struct ext4_extent_header *)buffer->data;

	header->entries = root->entries;
	memcpy(extents(header), extents(root), root->entries * sizeof(struct ext4_extent));
	root->depth++;
	root->entries = 1;
	index_set(&indexes(root)[0], extents(header)[0].block, buffer->block);
}

/*
 * The node at `level` is full, its parent is not: a new sibling takes the upper half, or only the last entry if the new one will be
 * beyond it: files that grow get full nodes.
 */
static void node_split(struct extent_insert_frame *f, struct buffer *sibling)
{
	struct ext4_extent_header *node = level_header(f->node, f->path, f->level);
	struct ext4_extent_header *parent = level_header(f->node, f->path, f->level - 1), *other = (struct ext4_extent_header *)sibling->data;
	u32 at = search_index(node, f->logical), in_parent = search_index(parent, f->logical);
	u32 moved = at + 1u == node->entries ? 1 : node->entries / 2u;
	u32 stay = node->entries - moved;

	memcpy(extents(other), &extents(node)[stay], moved * sizeof(struct ext4_extent));
	other->entries = (u16)moved;
	node->entries = (u16)stay;
	entry_insert(parent, in_parent + 1);
	index_set(&indexes(parent)[in_parent + 1], extents(other)[0].block, sibling->block);
	level_dirty(f->fs, f->path, f->level);
	level_dirty(f->fs, f->path, f->level - 1);
	buffer_dirty_unsealed(f->fs, sibling);
}

ASYNC_DEFINE(extent_insert)
{
	struct ext4_extent_header *header;

	ASYNC_BEGIN;
	for (;;) {
		AWAIT(path_get_for, .fs = f->fs, .node = f->node, .logical = f->logical, .path = f->path);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->depth = (u32)RESULT;
		if (leaf_insert(f)) {
			path_put(f->fs, f->path);
			ASYNC_RETURN(0);
		}
		if (f->rounds++ > 2 * EXT4_EXTENT_DEPTH + 2) {
			path_put(f->fs, f->path);
			ASYNC_RETURN(ext4_corrupt(f->fs, "the extent tree of inode %llu does not take an extent", (unsigned long long)f->node->inode.number));
		}
		/* The deepest node above the leaf that has room: the one below it is split. */
		for (f->level = f->depth; f->level > 0; f->level--) {
			header = level_header(f->node, f->path, f->level - 1);
			if (header->entries < header->max)
				break;
		}
		if (!f->level && root_of(f->node)->depth == EXT4_EXTENT_DEPTH) {
			path_put(f->fs, f->path);
			ASYNC_RETURN(-EFBIG);
		}
		AWAIT(tree_block, .fs = f->fs, .node = f->node, .depth = level_header(f->node, f->path, f->level)->depth, .goal = f->physical);
		if (IS_ERR((void *)RESULT)) {
			path_put(f->fs, f->path);
			ASYNC_RETURN(RESULT);
		}
		f->buffer = (struct buffer *)RESULT;
		if (f->level)
			node_split(f, f->buffer);
		else
			root_grow(f->node, f->buffer);
		buffer_put(f->fs, f->buffer);
		path_put(f->fs, f->path);
	}
	ASYNC_END;
}

/* --- removal --- */

/* The leaf of the path is empty: it goes, and so do parents that it leaves empty. */
ASYNC(leaf_remove, struct ext4 *fs; struct ext4_node *node; u32 logical; struct buffer **path; u32 level; u64 block;)
{
	struct ext4_extent_header *header;
	u32 at;

	ASYNC_BEGIN;
	while (f->level && !level_header(f->node, f->path, f->level)->entries) {
		f->block = f->path[f->level]->block;
		buffer_put(f->fs, f->path[f->level]);
		f->path[f->level] = NULL;
		AWAIT(blocks_free, .fs = f->fs, .first = f->block, .count = 1, .metadata = true);
		f->node->inode.blocks -= min(f->node->inode.blocks, (u64)f->fs->sectors_per_block);
		f->level--;
		header = level_header(f->node, f->path, f->level);
		at = search_index(header, f->logical);
		entry_delete(header, at);
		level_dirty(f->fs, f->path, f->level);
		if (header->entries && !at)
			keys_update(f->fs, f->node, f->path, f->level, f->logical);
	}
	if (!f->level && !root_of(f->node)->entries) {
		root_of(f->node)->depth = 0;
		root_of(f->node)->max = (u16)ROOT_ENTRIES;
	}
	ASYNC_END;
}

/*
 * Cuts [f->start, f->end) out of the last extent that it touches. False: it touches none. f->block, f->count: the blocks
 * that came free; f->tail_length: a part that must be put back behind the cut; f->level: 1 if the leaf is empty now.
 */
static bool leaf_cut(struct extent_remove_frame *f)
{
	struct ext4_extent_header *leaf = level_header(f->node, f->path, f->depth);
	s32 at = search(leaf, (u32)(f->end - 1));
	struct ext4_extent *e;
	u64 first, last;
	u32 length;

	f->count = f->tail_length = 0;
	if (at < 0)
		return false;
	e = &extents(leaf)[at];
	length = extent_length(e);
	if ((u64)e->block + length <= f->start)
		return false;
	first = max((u64)e->block, (u64)f->start);
	last = min((u64)e->block + length, f->end);
	f->block = extent_start(e) + (first - e->block);
	f->count = (u32)(last - first);
	f->logical = e->block;
	f->tail_unwritten = extent_unwritten(e);
	if (first == e->block && last == (u64)e->block + length) {
		entry_delete(leaf, (u32)at);
		if (!at && leaf->entries)
			keys_update(f->fs, f->node, f->path, f->depth, f->logical);
	} else if (first == e->block) {
		extent_set(e, (u32)last, extent_start(e) + f->count, length - f->count, f->tail_unwritten);
		if (!at)
			keys_update(f->fs, f->node, f->path, f->depth, f->logical);
	} else {
		if (last < (u64)e->block + length) {
			f->tail_logical = (u32)last;
			f->tail_length = (u32)((u64)e->block + length - last);
			f->tail_block = f->block + f->count;
		}
		extent_set(e, e->block, extent_start(e), (u32)(first - e->block), f->tail_unwritten);
	}
	level_dirty(f->fs, f->path, f->depth);
	f->end = first;
	return true;
}

ASYNC_DEFINE(extent_remove)
{
	ASYNC_BEGIN;
	f->end = min(f->end, (u64)1 << 32);
	while (f->start < f->end) {
		if (!f->keep_blocks && f->rounds++ == REMOVE_ROUNDS)
			ASYNC_RETURN(-EAGAIN);
		AWAIT(path_get_for, .fs = f->fs, .node = f->node, .logical = (u32)(f->end - 1), .path = f->path);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->depth = (u32)RESULT;
		if (!leaf_cut(f)) {
			path_put(f->fs, f->path);
			break;
		}
		if (f->depth && !level_header(f->node, f->path, f->depth)->entries)
			AWAIT(leaf_remove, .fs = f->fs, .node = f->node, .logical = f->logical, .path = f->path, .level = f->depth);
		path_put(f->fs, f->path);
		if (f->tail_length) {
			AWAIT(extent_insert, .fs = f->fs, .node = f->node, .logical = f->tail_logical, .physical = f->tail_block, .length = f->tail_length,
				.unwritten = f->tail_unwritten);
			if (RESULT < 0) {
				/* Nothing is lost: what was cut goes back where it was. */
				f->error = RESULT;
				AWAIT(extent_insert, .fs = f->fs, .node = f->node, .logical = (u32)f->end, .physical = f->block,
					.length = f->count + f->tail_length, .unwritten = f->tail_unwritten);
				ASYNC_RETURN(f->error);
			}
		}
		if (!f->keep_blocks) {
			/* What is no regular file has its blocks in buffers. */
			AWAIT(blocks_free, .fs = f->fs, .first = f->block, .count = f->count, .metadata = !S_ISREG(f->node->inode.mode));
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
			f->node->inode.blocks -= min(f->node->inode.blocks, (u64)f->count * f->fs->sectors_per_block);
		}
	}
	ASYNC_RETURN(0);
	ASYNC_END;
}

ASYNC_DEFINE(extent_written)
{
	ASYNC_BEGIN;
	for (f->at = f->start; f->at - f->start < f->length; f->at += f->n) {
		AWAIT(extent_find, .fs = f->fs, .node = f->node, .logical = f->at, .map = &f->map);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->n = min(f->map.length, f->length - (f->at - f->start));
		if (f->map.state != MAP_UNWRITTEN)
			continue;
		AWAIT(extent_remove, .fs = f->fs, .node = f->node, .start = f->at, .end = (u64)f->at + f->n, .keep_blocks = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		AWAIT(extent_insert, .fs = f->fs, .node = f->node, .logical = f->at, .physical = f->map.physical, .length = f->n);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}
