// SPDX-License-Identifier: MIT
/*
 * Directory blocks: entries one behind the other, each as long as its rec_len says, and with checksums a tail that looks like an
 * unused entry. A block is checked when it is first used; from then on its entries can be walked without fear.
 */
#include <lichen/crc.h>
#include "ext4.h"

static bool has_tail(const struct ext4 *fs)
{
	return fs->has_checksums;
}

u32 dir_room(const struct ext4 *fs)
{
	return fs->block_size - (has_tail(fs) ? (u32)sizeof(struct ext4_dir_tail) : 0);
}

u32 dir_rec_len(const struct ext4 *fs __unused, const struct ext4_dir_entry *entry)
{
	return entry->rec_len; /* blocks are 4 KiB at most: no length needs the encoding for larger ones */
}

void dir_set_rec_len(const struct ext4 *fs __unused, struct ext4_dir_entry *entry, u32 bytes)
{
	entry->rec_len = (u16)bytes;
}

u8 dir_file_type(mode_t mode)
{
	static const u8 types[16] = {
		[S_IFIFO >> 12] = 5, [S_IFCHR >> 12] = 3, [S_IFDIR >> 12] = 2, [S_IFBLK >> 12] = 4,
		[S_IFREG >> 12] = 1, [S_IFLNK >> 12] = 7, [S_IFSOCK >> 12] = 6,
	};

	return types[mode >> 12 & 15];
}

static struct ext4_dir_tail *tail_of(const struct ext4 *fs, const struct buffer *buffer)
{
	return (struct ext4_dir_tail *)(buffer->data + fs->block_size - sizeof(struct ext4_dir_tail));
}

void dir_seal(struct ext4 *fs, struct buffer *buffer)
{
	if (has_tail(fs))
		tail_of(fs, buffer)->checksum = crc32c(buffer->seed, buffer->data, dir_room(fs));
}

/* Entries fill the room exactly, names fit into them. */
static bool entries_ok(const struct ext4 *fs, const struct buffer *buffer)
{
	u32 room = dir_room(fs), offset = 0;

	while (offset < room) {
		const struct ext4_dir_entry *entry = dir_entry(buffer, offset);
		u32 bytes;

		if (room - offset < sizeof(*entry))
			return false;
		bytes = dir_rec_len(fs, entry);
		if (bytes < sizeof(*entry) || (bytes & 3) || bytes > room - offset || dir_entry_bytes(entry->name_len) > bytes ||
			entry->inode > fs->inodes || (entry->inode && !entry->name_len))
			return false;
		offset += bytes;
	}
	return true;
}

long dir_check(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer, u32 logical)
{
	const struct ext4_dir_tail *tail = tail_of(fs, buffer);

	if (likely(buffer->kind == KIND_DIRECTORY && buffer->seed == dir->seed))
		return 0;
	if (buffer->kind != KIND_NONE)
		return ext4_corrupt(fs, "block %u of directory %llu is something else, too", logical, (unsigned long long)dir->inode.number);
	if (has_tail(fs) && (tail->zero1 || tail->rec_len != sizeof(*tail) || tail->zero2 || tail->reserved_ft != EXT4_TAIL_TYPE ||
				    tail->checksum != crc32c(dir->seed, buffer->data, dir_room(fs))))
		return ext4_corrupt(fs, "block %u of directory %llu has a wrong checksum", logical, (unsigned long long)dir->inode.number);
	if (!entries_ok(fs, buffer))
		return ext4_corrupt(fs, "block %u of directory %llu has wrong entries", logical, (unsigned long long)dir->inode.number);
	buffer->kind = KIND_DIRECTORY;
	buffer->seed = dir->seed;
	return 0;
}

long dir_search(struct ext4 *fs, const struct buffer *buffer, const struct name *name)
{
	u32 room = dir_room(fs);

	for (u32 offset = 0; offset < room; offset += dir_rec_len(fs, dir_entry(buffer, offset))) {
		const struct ext4_dir_entry *entry = dir_entry(buffer, offset);

		if (entry->inode && entry->name_len == name->length && !memcmp(entry->name, name->text, name->length))
			return offset;
	}
	return -ENOENT;
}

void dir_leaf_init(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer)
{
	struct ext4_dir_entry *entry = dir_entry(buffer, 0);

	memset(buffer->data, 0, fs->block_size);
	dir_set_rec_len(fs, entry, dir_room(fs));
	if (has_tail(fs)) {
		struct ext4_dir_tail *tail = tail_of(fs, buffer);

		tail->rec_len = sizeof(*tail);
		tail->reserved_ft = EXT4_TAIL_TYPE;
	}
	buffer->kind = KIND_DIRECTORY;
	buffer->seed = dir->seed;
}

long dir_insert(struct ext4 *fs, struct buffer *buffer, const char *name, u32 length, u32 number, u8 type)
{
	u32 room = dir_room(fs), need = dir_entry_bytes(length), used, bytes;

	for (u32 offset = 0; offset < room; offset += bytes) {
		struct ext4_dir_entry *entry = dir_entry(buffer, offset);

		bytes = dir_rec_len(fs, entry);
		used = entry->inode ? dir_entry_bytes(entry->name_len) : 0;
		if (bytes - used < need)
			continue;
		if (used) {
			/* Behind the name of the one that is there. */
			dir_set_rec_len(fs, entry, used);
			entry = dir_entry(buffer, offset + used);
			dir_set_rec_len(fs, entry, bytes - used);
		}
		entry->inode = number;
		entry->name_len = (u8)length;
		entry->file_type = fs->incompat & INCOMPAT_FILETYPE ? type : 0;
		memcpy(entry->name, name, length);
		return 0;
	}
	return -ENOSPC;
}

void dir_delete(struct ext4 *fs, struct buffer *buffer, u32 at)
{
	struct ext4_dir_entry *entry = dir_entry(buffer, at), *before = NULL;

	for (u32 offset = 0; offset < at; offset += dir_rec_len(fs, before))
		before = dir_entry(buffer, offset);
	if (before)
		dir_set_rec_len(fs, before, dir_rec_len(fs, before) + dir_rec_len(fs, entry));
	entry->inode = 0;
}

/* --- whole directories --- */

static u32 dir_blocks(const struct inode *dir)
{
	return (u32)(dir->size >> ext4_of(dir)->block_bits);
}

/* A block of the directory that holds entries, checked (as long); 0: an index node, which has none of interest. */
ASYNC(leaf_get, struct inode *dir; u32 block; struct buffer *buffer;)
{
	long error;

	ASYNC_BEGIN;
	AWAIT(ext4_dir_block, .dir = f->dir, .logical = f->block);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	if (dir_indexed(ext4_of(f->dir), f->dir) && dx_is_index(ext4_of(f->dir), f->buffer, f->block)) {
		buffer_put(ext4_of(f->dir), f->buffer);
		ASYNC_RETURN(0);
	}
	error = dir_check(ext4_of(f->dir), node_of(f->dir), f->buffer, f->block);
	if (error) {
		buffer_put(ext4_of(f->dir), f->buffer);
		ASYNC_RETURN(error);
	}
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

static bool is_dots(const struct name *name)
{
	return name->text[0] == '.' && (name->length == 1 || (name->length == 2 && name->text[1] == '.'));
}

ASYNC_DEFINE(dir_find)
{
	long at;

	ASYNC_BEGIN;
	if (f->name->length > 255)
		ASYNC_RETURN(-ENAMETOOLONG);
	if (dir_indexed(ext4_of(f->dir), f->dir) && !is_dots(f->name)) {
		AWAIT(dx_find, .dir = f->dir, .name = f->name, .slot = f->slot);
		ASYNC_RETURN(RESULT);
	}
	f->blocks = dir_blocks(f->dir);
	for (f->block = 0; f->block < f->blocks; f->block++) {
		if (dir_indexed(ext4_of(f->dir), f->dir)) {
			/* "." and ".." stand in the root of the index, which the VFS never asks for. */
			ASYNC_RETURN(-ENOENT);
		}
		AWAIT(leaf_get, .dir = f->dir, .block = f->block);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		at = dir_search(ext4_of(f->dir), (struct buffer *)RESULT, f->name);
		if (at >= 0) {
			*f->slot = (struct dir_slot){(struct buffer *)RESULT, f->block, (u32)at};
			ASYNC_RETURN(0);
		}
		buffer_put(ext4_of(f->dir), (struct buffer *)RESULT);
	}
	ASYNC_RETURN(-ENOENT);
	ASYNC_END;
}

ASYNC_DEFINE(dir_add)
{
	struct ext4 *fs = ext4_of(f->dir);

	ASYNC_BEGIN;
	if (dir_indexed(fs, f->dir)) {
		AWAIT(dx_add, .dir = f->dir, .name = f->name, .number = f->number, .type = f->type);
		ASYNC_RETURN(RESULT);
	}
	f->blocks = dir_blocks(f->dir);
	for (f->block = 0; f->block < f->blocks; f->block++) {
		AWAIT(leaf_get, .dir = f->dir, .block = f->block);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->buffer = (struct buffer *)RESULT;
		BUFFER_ACCESS(ext4_of(f->dir), f->buffer);
		fs = ext4_of(f->dir);
		f->error = dir_insert(fs, f->buffer, f->name->text, f->name->length, f->number, f->type);
		if (!f->error)
			buffer_dirty_unsealed(fs, f->buffer);
		buffer_put(fs, f->buffer);
		if (!f->error)
			ASYNC_RETURN(0);
	}
	fs = ext4_of(f->dir);
	if (f->blocks == 1 && (fs->compat & COMPAT_DIR_INDEX)) {
		AWAIT(dx_convert, .dir = f->dir);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		AWAIT(dx_add, .dir = f->dir, .name = f->name, .number = f->number, .type = f->type);
		ASYNC_RETURN(RESULT);
	}
	AWAIT(ext4_dir_append, .dir = f->dir);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	fs = ext4_of(f->dir);
	dir_leaf_init(fs, node_of(f->dir), f->buffer);
	dir_insert(fs, f->buffer, f->name->text, f->name->length, f->number, f->type);
	buffer_dirty_unsealed(fs, f->buffer);
	buffer_put(fs, f->buffer);
	ASYNC_END;
}

ASYNC_DEFINE(dir_remove)
{
	ASYNC_BEGIN;
	BUFFER_ACCESS(ext4_of(f->dir), f->slot->buffer);
	dir_delete(ext4_of(f->dir), f->slot->buffer, f->slot->offset);
	buffer_dirty_unsealed(ext4_of(f->dir), f->slot->buffer);
	ASYNC_END;
}

static bool leaf_is_empty(struct ext4 *fs, const struct buffer *buffer)
{
	for (u32 offset = 0; offset < dir_room(fs); offset += dir_rec_len(fs, dir_entry(buffer, offset))) {
		const struct ext4_dir_entry *entry = dir_entry(buffer, offset);
		struct name name = {entry->name, entry->name_len, 0};

		if (entry->inode && !is_dots(&name))
			return false;
	}
	return true;
}

ASYNC_DEFINE(dir_is_empty)
{
	bool empty;

	ASYNC_BEGIN;
	f->blocks = dir_blocks(f->dir);
	for (f->block = 0; f->block < f->blocks; f->block++) {
		AWAIT(leaf_get, .dir = f->dir, .block = f->block);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		if (!RESULT)
			continue;
		empty = leaf_is_empty(ext4_of(f->dir), (struct buffer *)RESULT);
		buffer_put(ext4_of(f->dir), (struct buffer *)RESULT);
		if (!empty)
			ASYNC_RETURN(0);
	}
	ASYNC_RETURN(1);
	ASYNC_END;
}

/* --- readdir: positions are byte offsets, 0 and 1 are "." and ".." --- */

static bool leaf_emit(struct ext4 *fs, struct dir_emit *to, const struct buffer *buffer, u32 block)
{
	static const u8 types[8] = {0, 8, 4, 2, 6, 1, 12, 10}; /* DT_* of the disk's types */
	u64 base = (u64)block << fs->block_bits;

	for (u32 offset = 0, next; offset < dir_room(fs); offset = next) {
		const struct ext4_dir_entry *entry = dir_entry(buffer, offset);
		struct name name = {entry->name, entry->name_len, 0};

		next = offset + dir_rec_len(fs, entry);
		/* What begins before the position was shown, even if entries were merged since. */
		if (base + offset < to->pos || !entry->inode || is_dots(&name))
			continue;
		if (!to->emit(to, entry->name, entry->name_len, entry->inode, base + next, types[entry->file_type & 7]))
			return false;
		to->pos = base + next;
	}
	return true;
}

ASYNC_DECLARE(ext4_readdir, FILE_READDIR_ARGS u32 block; bool more;);
ASYNC_DEFINE(ext4_readdir)
{
	struct ext4 *fs = ext4_of(f->file->inode);

	ASYNC_BEGIN;
	if (!dir_emit_dots(f->file, f->to))
		ASYNC_RETURN(0);
	while (f->to->pos < f->file->inode->size) {
		/* Position 2, behind the dots, is the start of the first block. */
		f->block = (u32)(f->to->pos >> ext4_of(f->file->inode)->block_bits);
		AWAIT(leaf_get, .dir = f->file->inode, .block = f->block);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		fs = ext4_of(f->file->inode);
		if (RESULT) {
			f->more = leaf_emit(fs, f->to, (struct buffer *)RESULT, f->block);
			buffer_put(fs, (struct buffer *)RESULT);
			if (!f->more)
				ASYNC_RETURN(0);
		}
		f->to->pos = max(f->to->pos, ((u64)f->block + 1) << fs->block_bits);
	}
	ASYNC_END;
}

const struct file_ops ext4_dir_ops = {
	.readdir = &ext4_readdir_fn,
	.fsync = &ext4_fsync_fn,
};
