// SPDX-License-Identifier: MIT
/*
 * Extended attributes: read from the inode's own space and from its block, and freed with it. They are not written: what is there
 * stays as it is.
 */
#include <lichen/crc.h>
#include "ext4.h"

static const struct {
	const char *prefix;
	u8 index;
} prefixes[] = {{"user.", 1}, {"trusted.", 4}, {"security.", 6}};

static u32 xattr_checksum(const struct ext4 *fs, const struct buffer *buffer)
{
	size_t at = offsetof(struct ext4_xattr_header, checksum);
	u32 zero = 0, crc = crc32c(fs->seed, &buffer->block, sizeof(buffer->block));

	crc = crc32c(crc, buffer->data, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, buffer->data + at + sizeof(zero), fs->block_size - at - sizeof(zero));
}

void xattr_seal(struct ext4 *fs, struct buffer *buffer)
{
	if (fs->has_checksums)
		((struct ext4_xattr_header *)buffer->data)->checksum = xattr_checksum(fs, buffer);
}

long xattr_check(struct ext4 *fs, struct buffer *buffer)
{
	const struct ext4_xattr_header *header = (const struct ext4_xattr_header *)buffer->data;

	if (buffer->kind == KIND_XATTR)
		return 0;
	if (buffer->kind != KIND_NONE || header->magic != EXT4_XATTR_MAGIC || header->blocks != 1 || !header->refcount ||
		(fs->has_checksums && header->checksum != xattr_checksum(fs, buffer)))
		return ext4_corrupt(fs, "the block of attributes %llu is wrong", (unsigned long long)buffer->block);
	buffer->kind = KIND_XATTR;
	return 0;
}

/*
 * Finds an attribute among entries that lie in [from, end); value offsets count from `base`. Its length, value copied if it fits; -ENODATA,
 * -ERANGE, -EUCLEAN.
 */
static long entries_find(struct ext4 *fs, const char *from, const char *end, const char *base, u8 index, const char *name, void *buf, size_t bytes)
{
	size_t length = strlen(name);

	while ((size_t)(end - from) >= sizeof(struct ext4_xattr_entry)) {
		struct ext4_xattr_entry entry;

		memcpy(&entry, from, sizeof(entry));
		if (!entry.name_len && !entry.name_index && !entry.value_offs && !entry.value_inum)
			break;
		if ((size_t)(end - from) < sizeof(entry) + entry.name_len)
			return ext4_corrupt(fs, "an attribute's name runs out of its block");
		if (entry.name_index == index && entry.name_len == length && !memcmp(from + sizeof(entry), name, length)) {
			if (entry.value_inum)
				return -EOPNOTSUPP;
			if (entry.value_size > (size_t)(end - base) || entry.value_offs > (size_t)(end - base) - entry.value_size)
				return ext4_corrupt(fs, "an attribute's value lies outside of its block");
			if (bytes && entry.value_size > bytes)
				return -ERANGE;
			if (bytes)
				memcpy(buf, base + entry.value_offs, entry.value_size);
			return entry.value_size;
		}
		from += align_up(sizeof(entry) + entry.name_len, 4ul);
		if (from > end)
			break;
	}
	return -ENODATA;
}

/* In the inode: behind its known part. */
static long inode_find_xattr(struct ext4 *fs, const char *raw, u8 index, const char *name, void *buf, size_t bytes)
{
	const struct ext4_disk_inode *disk = (const struct ext4_disk_inode *)raw;
	u32 at, magic;

	if (fs->inode_size == EXT4_GOOD_OLD_INODE)
		return -ENODATA;
	at = EXT4_GOOD_OLD_INODE + disk->extra_isize;
	if (at + sizeof(magic) > fs->inode_size)
		return -ENODATA;
	memcpy(&magic, raw + at, sizeof(magic));
	if (magic != EXT4_XATTR_MAGIC)
		return -ENODATA;
	return entries_find(fs, raw + at + sizeof(magic), raw + fs->inode_size, raw + at + sizeof(magic), index, name, buf, bytes);
}

ASYNC_DECLARE(ext4_getxattr, INODE_GETXATTR_ARGS struct buffer *buffer; u8 index; const char *name;);
ASYNC_DEFINE(ext4_getxattr)
{
	struct ext4 *fs = ext4_of(f->inode);
	u32 offset;
	long found;

	ASYNC_BEGIN;
	for (u32 i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (!strncmp(f->key, prefixes[i].prefix, strlen(prefixes[i].prefix))) {
			f->index = prefixes[i].index;
			f->name = f->key + strlen(prefixes[i].prefix);
		}
	}
	if (!f->name)
		ASYNC_RETURN(-EOPNOTSUPP);
	AWAIT(buffer_get, .fs = fs, .block = inode_place(fs, (u32)f->inode->number, &offset));
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	fs = ext4_of(f->inode);
	inode_place(fs, (u32)f->inode->number, &offset);
	found = inode_find_xattr(fs, f->buffer->data + offset, f->index, f->name, f->buf, f->bytes);
	buffer_put(fs, f->buffer);
	if (found != -ENODATA || !node_of(f->inode)->xattr_block)
		ASYNC_RETURN(found);
	AWAIT(buffer_get, .fs = fs, .block = node_of(f->inode)->xattr_block);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	fs = ext4_of(f->inode);
	found = xattr_check(fs, f->buffer);
	if (!found)
		found = entries_find(fs, f->buffer->data + sizeof(struct ext4_xattr_header), f->buffer->data + fs->block_size, f->buffer->data,
			f->index, f->name, f->buf, f->bytes);
	buffer_put(fs, f->buffer);
	ASYNC_RETURN(found);
	ASYNC_END;
}

ASYNC_DEFINE(xattr_free)
{
	struct ext4_xattr_header *header;
	long error;

	ASYNC_BEGIN;
	f->block = f->node->xattr_block;
	AWAIT(buffer_get, .fs = f->fs, .block = f->block);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	error = xattr_check(f->fs, f->buffer);
	if (error) {
		buffer_put(f->fs, f->buffer);
		ASYNC_RETURN(error);
	}
	BUFFER_ACCESS(f->fs, f->buffer);
	header = (struct ext4_xattr_header *)f->buffer->data;
	f->node->xattr_block = 0;
	f->node->inode.blocks -= min(f->node->inode.blocks, (u64)f->fs->sectors_per_block);
	if (header->refcount > 1) {
		header->refcount--;
		buffer_dirty_unsealed(f->fs, f->buffer);
		buffer_put(f->fs, f->buffer);
		ASYNC_RETURN(0);
	}
	buffer_put(f->fs, f->buffer);
	AWAIT(blocks_free, .fs = f->fs, .first = f->block, .count = 1, .metadata = true);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
