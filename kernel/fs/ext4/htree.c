// SPDX-License-Identifier: MIT
/*
 * Indexed directories: block 0 is the root of a tree of name hashes, at most three levels, whose leaves are ordinary directory
 * blocks. An index block looks like a block with one unused entry, so that old kernels skip it.
 *
 *     root:  "." | ".." | info | count, limit, block | hash, block | ... | checksum
 *     node:  an empty entry    | count, limit, block | hash, block | ... | checksum
 *
 * An entry leads to names with hashes from its own up to the next entry's. Bit 0 of a hash: the names of the hash before go on here.
 */
#include <lichen/crc.h>
#include "ext4.h"

#define ROOT_INFO_AT	24u
#define ROOT_ENTRIES_AT 32u
#define NODE_ENTRIES_AT 8u
#define BLOCK_MASK	0x0fffffffu

bool dir_indexed(const struct ext4 *fs, const struct inode *dir)
{
	return (fs->compat & COMPAT_DIR_INDEX) && (((const struct ext4_node *)dir)->flags & EXT4_INDEX_FL);
}

static struct ext4_dx_info *info_of(const struct buffer *buffer)
{
	return (struct ext4_dx_info *)(buffer->data + ROOT_INFO_AT);
}

static struct ext4_dx_entry *entries_of(const struct buffer *buffer, bool root)
{
	return (struct ext4_dx_entry *)(buffer->data + (root ? ROOT_ENTRIES_AT : NODE_ENTRIES_AT));
}

static struct ext4_dx_countlimit *counts(struct ext4_dx_entry *entries)
{
	return (struct ext4_dx_countlimit *)entries;
}

static u32 dx_limit(const struct ext4 *fs, bool root)
{
	return (fs->block_size - (root ? ROOT_ENTRIES_AT : NODE_ENTRIES_AT) - (fs->has_checksums ? (u32)sizeof(struct ext4_dx_tail) : 0)) /
	       (u32)sizeof(struct ext4_dx_entry);
}

static u32 dx_checksum(const struct ext4 *fs, u32 seed, const struct buffer *buffer, bool root)
{
	struct ext4_dx_entry *entries = entries_of(buffer, root);
	const struct ext4_dx_tail *tail = (const struct ext4_dx_tail *)(entries + dx_limit(fs, root));
	u32 zero = 0, crc;

	crc = crc32c(seed, buffer->data, (size_t)((char *)(entries + counts(entries)->count) - buffer->data));
	crc = crc32c(crc, &tail->reserved, sizeof(tail->reserved));
	return crc32c(crc, &zero, sizeof(zero));
}

void dx_seal(struct ext4 *fs, struct buffer *buffer)
{
	bool root = buffer->kind == KIND_DX_ROOT;
	struct ext4_dx_tail *tail = (struct ext4_dx_tail *)(entries_of(buffer, root) + dx_limit(fs, root));

	if (fs->has_checksums)
		tail->checksum = dx_checksum(fs, buffer->seed, buffer, root);
}

bool dx_is_index(const struct ext4 *fs, const struct buffer *buffer, u32 logical)
{
	const struct ext4_dir_entry *first = dir_entry(buffer, 0);

	return !logical || (!first->inode && first->rec_len == fs->block_size);
}

static u32 levels_max(const struct ext4 *fs)
{
	return fs->incompat & INCOMPAT_LARGEDIR ? DX_LEVELS : DX_LEVELS - 1;
}

static bool root_ok(const struct ext4 *fs, const struct buffer *buffer)
{
	const struct ext4_dir_entry *dot = dir_entry(buffer, 0), *dots = dir_entry(buffer, 12);
	const struct ext4_dx_info *info = info_of(buffer);

	return dot->rec_len == 12 && dot->name_len == 1 && dots->name_len == 2 && dots->rec_len == fs->block_size - 12 &&
	       !info->zero && info->info_length == sizeof(*info) && info->hash_version <= HASH_TEA_UNSIGNED &&
	       info->indirect_levels < levels_max(fs);
}

long dx_check(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer, u32 logical)
{
	u8 kind = logical ? KIND_DX_NODE : KIND_DX_ROOT;
	struct ext4_dx_entry *entries = entries_of(buffer, !logical);

	if (likely(buffer->kind == kind && buffer->seed == dir->seed))
		return 0;
	if (buffer->kind != KIND_NONE || !dx_is_index(fs, buffer, logical) || (!logical && !root_ok(fs, buffer)) ||
		counts(entries)->limit != dx_limit(fs, !logical) || !counts(entries)->count || counts(entries)->count > counts(entries)->limit)
		return ext4_corrupt(fs, "index block %u of directory %llu is wrong", logical, (unsigned long long)dir->inode.number);
	if (fs->has_checksums) {
		const struct ext4_dx_tail *tail = (const struct ext4_dx_tail *)(entries + dx_limit(fs, !logical));

		if (tail->checksum != dx_checksum(fs, dir->seed, buffer, !logical))
			return ext4_corrupt(fs, "index block %u of directory %llu has a wrong checksum", logical, (unsigned long long)dir->inode.number);
	}
	buffer->kind = kind;
	buffer->seed = dir->seed;
	return 0;
}

/* The entry whose range `hash` lies in. The first one's hash is 0, and holds the counts. */
static struct ext4_dx_entry *dx_search(struct ext4_dx_entry *entries, u32 hash)
{
	u32 low = 1, high = counts(entries)->count;

	while (low < high) {
		u32 middle = (low + high) / 2;

		if (entries[middle].hash > hash)
			high = middle;
		else
			low = middle + 1;
	}
	return &entries[low - 1];
}

static void walk_put(struct ext4 *fs, struct dx_walk *walk)
{
	for (u32 i = 0; i < DX_LEVELS; i++) {
		if (walk->level[i].buffer)
			buffer_put(fs, walk->level[i].buffer);
		walk->level[i].buffer = NULL;
	}
}

/* One level: reads the index block. */
ASYNC(level_get, struct inode *dir; struct dx_path *level; u32 block;)
{
	long error;

	ASYNC_BEGIN;
	AWAIT(ext4_dir_block, .dir = f->dir, .logical = f->block);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->level->buffer = (struct buffer *)RESULT;
	f->level->block = f->block;
	error = dx_check(ext4_of(f->dir), node_of(f->dir), f->level->buffer, f->block);
	if (error) {
		buffer_put(ext4_of(f->dir), f->level->buffer);
		f->level->buffer = NULL;
		ASYNC_RETURN(error);
	}
	f->level->entries = f->level->at = entries_of(f->level->buffer, !f->block);
	ASYNC_END;
}

/* From the root to the index entry for the name: its leaf's block in RESULT. The caller puts the walk. */
ASYNC(walk_down, struct inode *dir; const struct name *name; struct dx_walk *walk; u32 i;)
{
	struct dx_path *level;
	long error;

	ASYNC_BEGIN;
	f->walk->levels = 1;
	for (f->i = 0; f->i < f->walk->levels; f->i++) {
		AWAIT(level_get, .dir = f->dir, .level = &f->walk->level[f->i], .block = f->i ? f->walk->level[f->i - 1].at->block & BLOCK_MASK : 0);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		level = &f->walk->level[f->i];
		if (!f->i) {
			const struct ext4_dx_info *info = info_of(level->buffer);

			f->walk->levels = info->indirect_levels + 1u;
			f->walk->version = info->hash_version;
			if (f->walk->version <= HASH_TEA && ext4_of(f->dir)->hash_unsigned)
				f->walk->version += HASH_LEGACY_UNSIGNED;
			error = dx_hash(ext4_of(f->dir), f->walk->version, f->name->text, f->name->length, &f->walk->hash);
			if (error)
				ASYNC_RETURN(error);
		} else if (level->block == f->walk->level[f->i - 1].block || !level->block) {
			ASYNC_RETURN(ext4_corrupt(ext4_of(f->dir), "the index of directory %llu has a loop", (unsigned long long)f->dir->number));
		}
		level->at = dx_search(level->entries, f->walk->hash.hash);
	}
	ASYNC_RETURN(f->walk->level[f->walk->levels - 1].at->block & BLOCK_MASK);
	ASYNC_END;
}

/* The next leaf, if names of the same hash go on there: its block, or 0. */
ASYNC(walk_next, struct inode *dir; struct dx_walk *walk; u32 i;)
{
	struct dx_path *level;

	ASYNC_BEGIN;
	for (f->i = f->walk->levels; f->i > 0; f->i--) {
		level = &f->walk->level[f->i - 1];
		if (++level->at < level->entries + counts(level->entries)->count)
			break;
	}
	if (!f->i || (level->at->hash & ~1u) != f->walk->hash.hash)
		ASYNC_RETURN(0);
	for (; f->i < f->walk->levels; f->i++) {
		buffer_put(ext4_of(f->dir), f->walk->level[f->i].buffer);
		f->walk->level[f->i].buffer = NULL;
		AWAIT(level_get, .dir = f->dir, .level = &f->walk->level[f->i], .block = f->walk->level[f->i - 1].at->block & BLOCK_MASK);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(f->walk->level[f->walk->levels - 1].at->block & BLOCK_MASK);
	ASYNC_END;
}

/* A leaf of the index, checked. */
ASYNC(dx_leaf, struct inode *dir; u32 block; struct buffer *buffer;)
{
	long error;

	ASYNC_BEGIN;
	if (!f->block || f->block >= f->dir->size >> ext4_of(f->dir)->block_bits)
		ASYNC_RETURN(ext4_corrupt(ext4_of(f->dir), "the index of directory %llu leads to block %u", (unsigned long long)f->dir->number, f->block));
	AWAIT(ext4_dir_block, .dir = f->dir, .logical = f->block);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	error = dir_check(ext4_of(f->dir), node_of(f->dir), f->buffer, f->block);
	if (error) {
		buffer_put(ext4_of(f->dir), f->buffer);
		ASYNC_RETURN(error);
	}
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

ASYNC_DEFINE(dx_find)
{
	long at;

	ASYNC_BEGIN;
	AWAIT(walk_down, .dir = f->dir, .name = f->name, .walk = &f->walk);
	f->error = RESULT;
	while (f->error > 0) {
		f->slot->block = (u32)f->error;
		AWAIT(dx_leaf, .dir = f->dir, .block = f->slot->block);
		if (IS_ERR((void *)RESULT)) {
			f->error = RESULT;
			break;
		}
		at = dir_search(ext4_of(f->dir), (struct buffer *)RESULT, f->name);
		if (at >= 0) {
			f->slot->buffer = (struct buffer *)RESULT;
			f->slot->offset = (u32)at;
			walk_put(ext4_of(f->dir), &f->walk);
			ASYNC_RETURN(0);
		}
		buffer_put(ext4_of(f->dir), (struct buffer *)RESULT);
		AWAIT(walk_next, .dir = f->dir, .walk = &f->walk);
		f->error = RESULT;
	}
	walk_put(ext4_of(f->dir), &f->walk);
	ASYNC_RETURN(f->error ? f->error : -ENOENT);
	ASYNC_END;
}

/* --- insertion --- */

/* A new index entry behind `at`. There is room. */
static void dx_insert(struct dx_path *level, u32 hash, u32 block)
{
	struct ext4_dx_countlimit *c = counts(level->entries);
	struct ext4_dx_entry *to = level->at + 1;

	memmove(to + 1, to, (size_t)((char *)(level->entries + c->count) - (char *)to));
	to->hash = hash;
	to->block = block;
	c->count++;
}

static void node_format(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer)
{
	memset(buffer->data, 0, fs->block_size);
	dir_entry(buffer, 0)->rec_len = (u16)fs->block_size;
	*counts(entries_of(buffer, false)) = (struct ext4_dx_countlimit){(u16)dx_limit(fs, false), 0};
	buffer->kind = KIND_DX_NODE;
	buffer->seed = dir->seed;
}

/* The root is full: its entries move into a node below it. */
static void root_deepen(struct ext4 *fs, struct ext4_node *dir, struct dx_path *root, struct buffer *fresh, u32 fresh_block)
{
	struct ext4_dx_entry *to = entries_of(fresh, false);
	u32 count = counts(root->entries)->count;

	node_format(fs, dir, fresh);
	memcpy(to + 1, root->entries + 1, (count - 1) * sizeof(*to));
	to[0].block = root->entries[0].block;
	counts(to)->count = (u16)count;
	memset(root->entries + 1, 0, (count - 1) * sizeof(*to));
	root->entries[0].block = fresh_block;
	counts(root->entries)->count = 1;
	info_of(root->buffer)->indirect_levels++;
	buffer_dirty_unsealed(fs, fresh);
	buffer_dirty_unsealed(fs, root->buffer);
}

/* An index node is full, its parent is not: the upper half moves into a new one. */
static void index_split(struct ext4 *fs, struct ext4_node *dir, struct dx_path *parent, struct dx_path *level, struct buffer *fresh, u32 fresh_block)
{
	struct ext4_dx_entry *to = entries_of(fresh, false);
	u32 count = counts(level->entries)->count, stay = count / 2;
	u32 hash = level->entries[stay].hash;

	node_format(fs, dir, fresh);
	memcpy(to + 1, level->entries + stay + 1, (count - stay - 1) * sizeof(*to));
	to[0].block = level->entries[stay].block;
	counts(to)->count = (u16)(count - stay);
	counts(level->entries)->count = (u16)stay;
	dx_insert(parent, hash, fresh_block);
	buffer_dirty_unsealed(fs, fresh);
	buffer_dirty_unsealed(fs, level->buffer);
	buffer_dirty_unsealed(fs, parent->buffer);
}

struct split_entry {
	u32 hash;
	u16 offset, bytes;
};

/* Insertion sort: a leaf has some hundred entries, and is split seldom. */
static void split_sort(struct split_entry *map, u32 count)
{
	for (u32 i = 1; i < count; i++) {
		struct split_entry entry = map[i];
		u32 at = i;

		for (; at && map[at - 1].hash > entry.hash; at--)
			map[at] = map[at - 1];
		map[at] = entry;
	}
}

/*
 * A leaf is full: its entries with the larger hashes move into the new one. `copy`: a block of memory; `map`: for the entries. The hash of
 * the index entry for the new leaf, or 0 if nothing can be moved.
 */
static u32 leaf_split(struct ext4 *fs, struct ext4_node *dir, u32 version, struct buffer *leaf, struct buffer *fresh, char *copy, struct split_entry *map)
{
	u32 room = dir_room(fs), count = 0, moved = 0, stay, hash;

	for (u32 offset = 0; offset < room; offset += dir_rec_len(fs, dir_entry(leaf, offset))) {
		const struct ext4_dir_entry *entry = dir_entry(leaf, offset);
		struct dx_hash h;

		if (!entry->inode || dx_hash(fs, version, entry->name, entry->name_len, &h))
			continue;
		map[count++] = (struct split_entry){h.hash, (u16)offset, (u16)dir_entry_bytes(entry->name_len)};
	}
	if (count < 2)
		return 0;
	split_sort(map, count);
	/* As many as fill half of the block. */
	for (stay = count; stay > 1 && moved + map[stay - 1].bytes <= room / 2; stay--)
		moved += map[stay - 1].bytes;
	if (stay == count)
		stay--;
	hash = map[stay].hash + (map[stay].hash == map[stay - 1].hash);
	memcpy(copy, leaf->data, fs->block_size);
	dir_leaf_init(fs, dir, leaf);
	dir_leaf_init(fs, dir, fresh);
	for (u32 i = 0; i < count; i++) {
		const struct ext4_dir_entry *entry = (const struct ext4_dir_entry *)(copy + map[i].offset);

		dir_insert(fs, i < stay ? leaf : fresh, entry->name, entry->name_len, entry->inode, entry->file_type);
	}
	return hash;
}

/* Splits f->leaf; f->walk leads to it. */
static long dx_split(struct dx_add_frame *f)
{
	struct ext4 *fs = ext4_of(f->dir);
	struct split_entry *map = kmalloc(fs->block_size / 12 * sizeof(*map) + fs->block_size);
	struct dx_path *last = &f->walk.level[f->walk.levels - 1];
	u32 hash;

	if (!map)
		return -ENOMEM;
	hash = leaf_split(fs, node_of(f->dir), f->walk.version, f->leaf, f->fresh, (char *)(map + fs->block_size / 12), map);
	kfree(map);
	if (!hash)
		return ext4_corrupt(fs, "a leaf of directory %llu cannot be split", (unsigned long long)f->dir->number);
	dx_insert(last, hash, f->fresh_block);
	buffer_dirty_unsealed(fs, f->leaf);
	buffer_dirty_unsealed(fs, f->fresh);
	buffer_dirty_unsealed(fs, last->buffer);
	return 0;
}

/* A fresh block at the end of the directory, in f->fresh. */
#define FRESH_BLOCK()                                                                              \
	do {                                                                                       \
		f->fresh_block = (u32)(f->dir->size >> ext4_of(f->dir)->block_bits);               \
		AWAIT(ext4_dir_append, .dir = f->dir);                                             \
		f->error = IS_ERR((void *)RESULT) ? RESULT : 0;                                    \
		f->fresh = f->error ? NULL : (struct buffer *)RESULT;                              \
	} while (0)

ASYNC_DEFINE(dx_add)
{
	struct dx_path *level;
	struct ext4 *fs;

	ASYNC_BEGIN;
	/* Each round makes room on one level; then the walk is made again. */
	for (f->rounds = 0; f->rounds < 2 * DX_LEVELS + 4; f->rounds++) {
		f->leaf = f->fresh = NULL;
		AWAIT(walk_down, .dir = f->dir, .name = f->name, .walk = &f->walk);
		f->error = RESULT < 0 ? RESULT : 0;
		if (f->error)
			goto out;
		AWAIT(dx_leaf, .dir = f->dir, .block = (u32)RESULT);
		f->error = IS_ERR((void *)RESULT) ? RESULT : 0;
		if (f->error)
			goto out;
		f->leaf = (struct buffer *)RESULT;
		BUFFER_ACCESS(ext4_of(f->dir), f->leaf);
		for (f->level = 0; f->level < f->walk.levels; f->level++)
			BUFFER_ACCESS(ext4_of(f->dir), f->walk.level[f->level].buffer);
		fs = ext4_of(f->dir);
		f->error = dir_insert(fs, f->leaf, f->name->text, f->name->length, f->number, f->type);
		if (!f->error) {
			buffer_dirty_unsealed(fs, f->leaf);
			goto out;
		}
		/* The deepest index level that has room. */
		for (f->level = f->walk.levels; f->level > 0; f->level--) {
			level = &f->walk.level[f->level - 1];
			if (counts(level->entries)->count < counts(level->entries)->limit)
				break;
		}
		if (!f->level && f->walk.levels == levels_max(fs)) {
			f->error = -ENOSPC; /* a directory of this many names needs LARGEDIR */
			goto out;
		}
		FRESH_BLOCK();
		if (f->error)
			goto out;
		fs = ext4_of(f->dir);
		if (!f->level)
			root_deepen(fs, node_of(f->dir), &f->walk.level[0], f->fresh, f->fresh_block);
		else if (f->level < f->walk.levels)
			index_split(fs, node_of(f->dir), &f->walk.level[f->level - 1], &f->walk.level[f->level], f->fresh, f->fresh_block);
		else
			f->error = dx_split(f);
		if (f->error) {
			/* The block is in the directory: let it be an empty leaf. */
			dir_leaf_init(fs, node_of(f->dir), f->fresh);
			buffer_dirty_unsealed(fs, f->fresh);
			goto out;
		}
		buffer_put(fs, f->fresh);
		buffer_put(fs, f->leaf);
		walk_put(fs, &f->walk);
	}
	ASYNC_RETURN(ext4_corrupt(ext4_of(f->dir), "directory %llu does not take a name", (unsigned long long)f->dir->number));
out:
	if (f->fresh)
		buffer_put(ext4_of(f->dir), f->fresh);
	if (f->leaf)
		buffer_put(ext4_of(f->dir), f->leaf);
	walk_put(ext4_of(f->dir), &f->walk);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* The one block of a linear directory becomes a leaf, and a root is put before it. */
static void convert(struct ext4 *fs, struct ext4_node *dir, struct buffer *root, struct buffer *leaf)
{
	struct ext4_dir_entry *dots;
	struct ext4_dx_entry *entries = entries_of(root, true);
	u32 offset, room = dir_room(fs);

	dir_leaf_init(fs, dir, leaf);
	/* "." and ".." come first; all others move. */
	offset = 12 + dir_rec_len(fs, dir_entry(root, 12));
	for (; offset < room; offset += dir_rec_len(fs, dir_entry(root, offset))) {
		const struct ext4_dir_entry *entry = dir_entry(root, offset);

		if (entry->inode)
			dir_insert(fs, leaf, entry->name, entry->name_len, entry->inode, entry->file_type);
	}
	dots = dir_entry(root, 12);
	dir_set_rec_len(fs, dots, fs->block_size - 12);
	memset(root->data + ROOT_INFO_AT, 0, fs->block_size - ROOT_INFO_AT);
	*info_of(root) = (struct ext4_dx_info){.hash_version = fs->hash_default, .info_length = sizeof(struct ext4_dx_info)};
	entries[0].block = 1;
	*counts(entries) = (struct ext4_dx_countlimit){(u16)dx_limit(fs, true), 1};
	root->kind = KIND_DX_ROOT;
	buffer_dirty_unsealed(fs, root);
	buffer_dirty_unsealed(fs, leaf);
}

ASYNC_DEFINE(dx_convert)
{
	const struct ext4_dir_entry *dot, *dots;
	struct ext4 *fs;

	ASYNC_BEGIN;
	AWAIT(ext4_dir_block, .dir = f->dir, .logical = 0);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->root = (struct buffer *)RESULT;
	dot = dir_entry(f->root, 0);
	dots = dir_entry(f->root, 12);
	if (dot->rec_len != 12 || dot->name_len != 1 || dot->name[0] != '.' || dots->name_len != 2 || dots->name[0] != '.' || dots->name[1] != '.') {
		buffer_put(ext4_of(f->dir), f->root);
		ASYNC_RETURN(ext4_corrupt(ext4_of(f->dir), "directory %llu does not begin with . and ..", (unsigned long long)f->dir->number));
	}
	BUFFER_ACCESS(ext4_of(f->dir), f->root);
	AWAIT(ext4_dir_append, .dir = f->dir);
	fs = ext4_of(f->dir);
	if (IS_ERR((void *)RESULT)) {
		f->error = RESULT;
	} else {
		f->leaf = (struct buffer *)RESULT;
		convert(fs, node_of(f->dir), f->root, f->leaf);
		node_of(f->dir)->flags |= EXT4_INDEX_FL;
		buffer_put(fs, f->leaf);
	}
	buffer_put(fs, f->root);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
