// SPDX-License-Identifier: MIT
/*
 * Block groups: their descriptors in memory, their bitmaps, and the checksums of both. Counts are kept in struct ext4_group;
 * descriptors are written from it when a commit begins, so that a checksum is computed once a commit and not once a change.
 */
#include <lichen/crc.h>
#include "ext4.h"

u16 crc16(u16 crc, const void *bytes, size_t n)
{
	const u8 *p = bytes;

	while (n--) {
		crc ^= *p++;
		for (u32 bit = 0; bit < 8; bit++)
			crc = (u16)(crc >> 1 ^ (crc & 1 ? 0xa001 : 0));
	}
	return crc;
}

static bool is_power(u32 n, u32 base)
{
	while (n > 1 && n % base == 0)
		n /= base;
	return n == 1;
}

bool group_has_super(const struct ext4 *fs, u32 group)
{
	if (!group)
		return true;
	if (fs->compat & COMPAT_SPARSE_SUPER2)
		return group == fs->super->backup_bgs[0] || group == fs->super->backup_bgs[1];
	if (group == 1 || !(fs->ro_compat & RO_COMPAT_SPARSE_SUPER))
		return true;
	return (group & 1) && (is_power(group, 3) || is_power(group, 5) || is_power(group, 7));
}

/* Where descriptor block i lies. */
static u64 desc_block(const struct ext4 *fs, u32 i)
{
	u32 group = i * fs->descs_per_block;

	if (!(fs->incompat & INCOMPAT_META_BG) || i < fs->super->first_meta_bg)
		return (u64)fs->first_data_block + 1 + i;
	return group_first_block(fs, group) + group_has_super(fs, group);
}

static struct ext4_group_desc *desc_of(const struct ext4 *fs, u32 group)
{
	return (struct ext4_group_desc *)(fs->descs[group / fs->descs_per_block]->data +
					  (size_t)(group % fs->descs_per_block) * fs->desc_size);
}

static u16 desc_checksum(const struct ext4 *fs, u32 group, const struct ext4_group_desc *desc)
{
	size_t at = offsetof(struct ext4_group_desc, checksum), rest = at + sizeof(desc->checksum);
	const char *bytes = (const char *)desc;
	u16 zero = 0, crc;

	if (fs->has_checksums) {
		u32 wide_crc = crc32c(fs->seed, &group, sizeof(group));

		wide_crc = crc32c(wide_crc, desc, at);
		wide_crc = crc32c(wide_crc, &zero, sizeof(zero));
		return (u16)crc32c(wide_crc, bytes + rest, fs->desc_size - rest);
	}
	crc = crc16(0xffff, fs->super->uuid, sizeof(fs->super->uuid));
	crc = crc16(crc, &group, sizeof(group));
	crc = crc16(crc, desc, at);
	return fs->desc_size > rest ? crc16(crc, bytes + rest, fs->desc_size - rest) : crc;
}

static bool descs_have_checksums(const struct ext4 *fs)
{
	return fs->ro_compat & (RO_COMPAT_METADATA_CSUM | RO_COMPAT_GDT_CSUM);
}

/* A descriptor into memory: false if it is wrong. */
static bool group_parse(struct ext4 *fs, u32 i)
{
	const struct ext4_group_desc *desc = desc_of(fs, i);
	struct ext4_group *group = &fs->group[i];
	bool high = fs->desc_size >= 64;
	u64 itable = ((u64)fs->inodes_per_group * fs->inode_size + fs->block_size - 1) / fs->block_size;

	if (descs_have_checksums(fs) && desc->checksum != desc_checksum(fs, i, desc))
		return false;
	group->block_bitmap = wide(desc->block_bitmap_lo, high ? desc->block_bitmap_hi : 0);
	group->inode_bitmap = wide(desc->inode_bitmap_lo, high ? desc->inode_bitmap_hi : 0);
	group->inode_table = wide(desc->inode_table_lo, high ? desc->inode_table_hi : 0);
	group->free_blocks = desc->free_blocks_lo | (high ? (u32)desc->free_blocks_hi << 16 : 0);
	group->free_inodes = desc->free_inodes_lo | (high ? (u32)desc->free_inodes_hi << 16 : 0);
	group->used_dirs = desc->used_dirs_lo | (high ? (u32)desc->used_dirs_hi << 16 : 0);
	group->itable_unused = desc->itable_unused_lo | (high ? (u32)desc->itable_unused_hi << 16 : 0);
	group->flags = descs_have_checksums(fs) ? desc->flags : 0;
	if (!descs_have_checksums(fs))
		group->itable_unused = 0;
	return block_valid(fs, group->block_bitmap, 1) && block_valid(fs, group->inode_bitmap, 1) &&
	       block_valid(fs, group->inode_table, itable) && group->free_blocks <= group_blocks(fs, i) &&
	       group->free_inodes <= fs->inodes_per_group && group->itable_unused <= fs->inodes_per_group;
}

ASYNC_DEFINE(groups_load)
{
	u64 free_blocks = 0, free_inodes = 0;

	ASYNC_BEGIN;
	f->fs->group = kzalloc(sizeof(*f->fs->group) * f->fs->groups);
	f->fs->descs = kzalloc(sizeof(*f->fs->descs) * f->fs->desc_blocks);
	if (!f->fs->group || !f->fs->descs)
		ASYNC_RETURN(-ENOMEM);
	for (f->i = 0; f->i < f->fs->desc_blocks; f->i++) {
		AWAIT(buffer_get, .fs = f->fs, .block = desc_block(f->fs, f->i));
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->fs->descs[f->i] = (struct buffer *)RESULT;
	}
	for (u32 i = 0; i < f->fs->groups; i++) {
		if (!group_parse(f->fs, i))
			ASYNC_RETURN(ext4_corrupt(f->fs, "the descriptor of group %u is wrong", i));
		free_blocks += f->fs->group[i].free_blocks;
		free_inodes += f->fs->group[i].free_inodes;
	}
	atomic_store(&f->fs->free_blocks, free_blocks);
	atomic_store(&f->fs->free_inodes, free_inodes);
	ASYNC_END;
}

void groups_free(struct ext4 *fs)
{
	for (u32 i = 0; fs->group && i < fs->groups; i++) {
		if (fs->group[i].blocks_buffer)
			buffer_put(fs, fs->group[i].blocks_buffer);
		if (fs->group[i].inodes_buffer)
			buffer_put(fs, fs->group[i].inodes_buffer);
	}
	for (u32 i = 0; fs->descs && i < fs->desc_blocks; i++)
		if (fs->descs[i])
			buffer_put(fs, fs->descs[i]);
	kfree(fs->descs);
	kfree(fs->group);
}

/* --- bitmaps --- */

static void bits_set(char *bitmap, u32 first, u32 count)
{
	for (u32 i = first; i < first + count; i++)
		bitmap[i / 8] = (char)(bitmap[i / 8] | 1 << i % 8);
}

static u32 bitmap_checksum(const struct ext4 *fs, const char *bitmap, u32 bits)
{
	return crc32c(fs->seed, bitmap, bits / 8);
}

static bool bitmap_checksum_ok(const struct ext4 *fs, u32 group, const char *bitmap, u32 bits, bool inodes)
{
	const struct ext4_group_desc *desc = desc_of(fs, group);
	u32 crc, low = inodes ? desc->inode_bitmap_csum_lo : desc->block_bitmap_csum_lo;

	if (!fs->has_checksums)
		return true;
	crc = bitmap_checksum(fs, bitmap, bits);
	if (fs->desc_size < 64)
		return (u16)crc == low;
	return crc == (low | (u32)(inodes ? desc->inode_bitmap_csum_hi : desc->block_bitmap_csum_hi) << 16);
}

/* Blocks at the start of a group that hold the superblock and descriptors. */
static u32 base_blocks(const struct ext4 *fs, u32 group)
{
	u32 meta = group / fs->descs_per_block;

	if (!(fs->incompat & INCOMPAT_META_BG) || meta < fs->super->first_meta_bg) {
		u32 descs = fs->incompat & INCOMPAT_META_BG ? fs->super->first_meta_bg : fs->desc_blocks;

		return group_has_super(fs, group) ? 1 + descs + fs->super->reserved_gdt_blocks : 0;
	}
	/* The first, second and last of each run have a copy of its descriptor block. */
	group -= meta * fs->descs_per_block;
	return group_has_super(fs, group + meta * fs->descs_per_block) +
	       (group == 0 || group == 1 || group == fs->descs_per_block - 1);
}

static void bits_set_range(struct ext4 *fs, u32 group, char *bitmap, u64 block, u64 count)
{
	u64 first = group_first_block(fs, group), end = first + group_blocks(fs, group);

	for (; count; count--, block++)
		if (block >= first && block < end)
			bits_set(bitmap, (u32)(block - first), 1);
}

/* The bitmap of a group that was never used. */
static void block_bitmap_make(struct ext4 *fs, u32 i, char *bitmap)
{
	struct ext4_group *group = &fs->group[i];
	u64 itable = ((u64)fs->inodes_per_group * fs->inode_size + fs->block_size - 1) / fs->block_size;

	memset(bitmap, 0, fs->block_size);
	bits_set(bitmap, 0, min(base_blocks(fs, i), group_blocks(fs, i)));
	bits_set_range(fs, i, bitmap, group->block_bitmap, 1);
	bits_set_range(fs, i, bitmap, group->inode_bitmap, 1);
	bits_set_range(fs, i, bitmap, group->inode_table, itable);
	bits_set(bitmap, group_blocks(fs, i), 8 * fs->block_size - group_blocks(fs, i));
}

static long group_bad(struct ext4 *fs, u32 group, const char *what)
{
	fs->group[group].bad = true;
	return ext4_corrupt(fs, "the %s bitmap of group %u has a wrong checksum", what, group);
}

ASYNC_DEFINE(group_block_bitmap)
{
	struct ext4_group *group = &f->fs->group[f->group];

	ASYNC_BEGIN;
	if (group->bad)
		ASYNC_RETURN(-EFSCORRUPTED);
	if (group->flags & BG_BLOCK_UNINIT) {
		AWAIT(buffer_new, .fs = f->fs, .block = group->block_bitmap);
	} else {
		AWAIT(buffer_get, .fs = f->fs, .block = group->block_bitmap);
	}
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	group = &f->fs->group[f->group];
	if (group->flags & BG_BLOCK_UNINIT) {
		block_bitmap_make(f->fs, f->group, f->buffer->data);
	} else if (!group->blocks_checked && !group->blocks_buffer &&
		   !bitmap_checksum_ok(f->fs, f->group, f->buffer->data, f->fs->blocks_per_group, false)) {
		buffer_put(f->fs, f->buffer);
		ASYNC_RETURN(group_bad(f->fs, f->group, "block"));
	}
	group->blocks_checked = true;
	if (f->change) {
		BUFFER_ACCESS(f->fs, f->buffer);
		group = &f->fs->group[f->group];
		group->flags &= (u16)~BG_BLOCK_UNINIT;
		if (!group->blocks_buffer) {
			group->blocks_buffer = f->buffer;
			AWAIT(buffer_get, .fs = f->fs, .block = f->buffer->block); /* a second reference */
		}
		buffer_dirty(f->fs, f->buffer);
		group_dirty(f->fs, f->group);
	}
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

ASYNC_DEFINE(group_inode_bitmap)
{
	struct ext4_group *group = &f->fs->group[f->group];

	ASYNC_BEGIN;
	if (group->bad)
		ASYNC_RETURN(-EFSCORRUPTED);
	if (group->flags & BG_INODE_UNINIT) {
		AWAIT(buffer_new, .fs = f->fs, .block = group->inode_bitmap);
	} else {
		AWAIT(buffer_get, .fs = f->fs, .block = group->inode_bitmap);
	}
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	group = &f->fs->group[f->group];
	if (group->flags & BG_INODE_UNINIT) {
		memset(f->buffer->data, 0, f->fs->block_size);
		bits_set(f->buffer->data, f->fs->inodes_per_group, 8 * f->fs->block_size - f->fs->inodes_per_group);
	} else if (!group->inodes_checked && !group->inodes_buffer &&
		   !bitmap_checksum_ok(f->fs, f->group, f->buffer->data, f->fs->inodes_per_group, true)) {
		buffer_put(f->fs, f->buffer);
		ASYNC_RETURN(group_bad(f->fs, f->group, "inode"));
	}
	group->inodes_checked = true;
	if (f->change) {
		BUFFER_ACCESS(f->fs, f->buffer);
		group = &f->fs->group[f->group];
		group->flags &= (u16)~BG_INODE_UNINIT;
		if (!group->inodes_buffer) {
			group->inodes_buffer = f->buffer;
			AWAIT(buffer_get, .fs = f->fs, .block = f->buffer->block);
		}
		buffer_dirty(f->fs, f->buffer);
		group_dirty(f->fs, f->group);
	}
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

void group_dirty(struct ext4 *fs, u32 group)
{
	fs->group[group].dirty = true;
	fs->groups_dirty = true;
	buffer_dirty(fs, fs->descs[group / fs->descs_per_block]);
	buffer_dirty(fs, fs->super_buffer);
}

static void group_seal(struct ext4 *fs, u32 i)
{
	struct ext4_group_desc *desc = desc_of(fs, i);
	struct ext4_group *group = &fs->group[i];
	bool high = fs->desc_size >= 64;
	u32 crc;

	desc->free_blocks_lo = (u16)group->free_blocks;
	desc->free_inodes_lo = (u16)group->free_inodes;
	desc->used_dirs_lo = (u16)group->used_dirs;
	if (descs_have_checksums(fs)) {
		desc->itable_unused_lo = (u16)group->itable_unused;
		desc->flags = group->flags;
	}
	if (high) {
		desc->free_blocks_hi = (u16)(group->free_blocks >> 16);
		desc->free_inodes_hi = (u16)(group->free_inodes >> 16);
		desc->used_dirs_hi = (u16)(group->used_dirs >> 16);
		desc->itable_unused_hi = (u16)(group->itable_unused >> 16);
	}
	if (group->blocks_buffer) {
		crc = bitmap_checksum(fs, group->blocks_buffer->data, fs->blocks_per_group);
		if (fs->has_checksums) {
			desc->block_bitmap_csum_lo = (u16)crc;
			if (high)
				desc->block_bitmap_csum_hi = (u16)(crc >> 16);
		}
		buffer_put(fs, group->blocks_buffer);
		group->blocks_buffer = NULL;
	}
	if (group->inodes_buffer) {
		crc = bitmap_checksum(fs, group->inodes_buffer->data, fs->inodes_per_group);
		if (fs->has_checksums) {
			desc->inode_bitmap_csum_lo = (u16)crc;
			if (high)
				desc->inode_bitmap_csum_hi = (u16)(crc >> 16);
		}
		buffer_put(fs, group->inodes_buffer);
		group->inodes_buffer = NULL;
	}
	if (descs_have_checksums(fs))
		desc->checksum = desc_checksum(fs, i, desc);
	group->dirty = false;
}

void groups_seal(struct ext4 *fs)
{
	if (!fs->groups_dirty)
		return;
	fs->groups_dirty = false;
	for (u32 i = 0; i < fs->groups; i++)
		if (fs->group[i].dirty)
			group_seal(fs, i);
}
