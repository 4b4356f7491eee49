// SPDX-License-Identifier: MIT
/*
 * Orphans: inodes that have no name but are still open. They form a list on the disk, from the superblock through the dtime fields,
 * newest first; fs->orphans is the same list in memory. What a power failure left there is freed at the next mount, as is what another
 * kernel left in an orphan file (which is read and emptied here, never filled).
 */
#include <lichen/crc.h>
#include "ext4.h"

ASYNC_DEFINE(orphan_add)
{
	struct ext4 *fs = f->fs;

	ASYNC_BEGIN;
	if (!list_empty(&f->node->orphan_node))
		ASYNC_RETURN(0);
	AWAIT(mutex_lock, .mutex = &f->fs->orphan_lock);
	BUFFER_ACCESS(f->fs, f->fs->super_buffer);
	fs = f->fs;
	f->node->dtime = fs->super->last_orphan;
	fs->super->last_orphan = (u32)f->node->inode.number;
	list_add(&fs->orphans, &f->node->orphan_node);
	buffer_dirty(fs, fs->super_buffer);
	mutex_unlock(&fs->orphan_lock);
	/* The caller stores the inode, whose dtime is the link. */
	ASYNC_END;
}

ASYNC_DEFINE(orphan_remove)
{
	ASYNC_BEGIN;
	if (list_empty(&f->node->orphan_node))
		ASYNC_RETURN(0);
	AWAIT(mutex_lock, .mutex = &f->fs->orphan_lock);
	f->next = f->node->dtime;
	if (f->fs->orphans.next == &f->node->orphan_node) {
		BUFFER_ACCESS(f->fs, f->fs->super_buffer);
		f->fs->super->last_orphan = f->next;
		buffer_dirty(f->fs, f->fs->super_buffer);
	} else {
		f->previous = list_entry(f->node->orphan_node.prev, struct ext4_node, orphan_node);
		f->previous->dtime = f->next;
		AWAIT(ext4_store, .fs = f->fs, .node = f->previous);
	}
	list_remove(&f->node->orphan_node);
	f->node->dtime = 0;
	mutex_unlock(&f->fs->orphan_lock);
	ASYNC_END;
}

/* One inode that was found in a list: freed, or cut to its size. The next one's number in *next. */
ASYNC(orphan_clean, struct ext4 *fs; u32 number; u32 *next; struct inode *inode; long error;)
{
	struct ext4_node *node;

	ASYNC_BEGIN;
	if (f->number < f->fs->first_ino || f->number > f->fs->inodes)
		ASYNC_RETURN(ext4_corrupt(f->fs, "inode %u is in the list of orphans", f->number));
	AWAIT(ext4_iget, .fs = f->fs, .number = f->number, .orphan = true);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->inode = (struct inode *)RESULT;
	node = node_of(f->inode);
	if (f->next)
		*f->next = node->dtime;
	node->dtime = 0;
	if (f->inode->nlink && S_ISREG(f->inode->mode)) {
		AWAIT(ext4_free_blocks_from, .inode = f->inode, .size = f->inode->size);
		f->error = RESULT;
	}
	AWAIT(inode_put, .inode = f->inode); /* without a name it is freed now */
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static u32 orphan_slots(const struct ext4 *fs)
{
	return (fs->block_size - (u32)sizeof(struct ext4_orphan_tail)) / sizeof(u32);
}

static struct ext4_orphan_tail *orphan_tail(const struct ext4 *fs, const struct buffer *buffer)
{
	return (struct ext4_orphan_tail *)(buffer->data + fs->block_size - sizeof(struct ext4_orphan_tail));
}

static u32 orphan_checksum(const struct ext4 *fs, const struct inode *file, const struct buffer *buffer)
{
	u32 crc = crc32c(node_of(file)->seed, &buffer->block, sizeof(buffer->block));

	return crc32c(crc, buffer->data, orphan_slots(fs) * sizeof(u32));
}

/* The blocks of the orphan file. */
ASYNC(orphan_file_clean, struct ext4 *fs; struct inode *file; u32 at; u32 i; u32 number; struct buffer *buffer; u32 cleaned; long error;)
{
	ASYNC_BEGIN;
	AWAIT(ext4_iget, .fs = f->fs, .number = f->fs->super->orphan_file_inum, .orphan = true);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->file = (struct inode *)RESULT;
	for (f->at = 0; f->at < f->file->size >> f->fs->block_bits && !f->error; f->at++) {
		AWAIT(ext4_dir_block, .dir = f->file, .logical = f->at);
		if (IS_ERR((void *)RESULT)) {
			f->error = RESULT;
			break;
		}
		f->buffer = (struct buffer *)RESULT;
		if (orphan_tail(f->fs, f->buffer)->magic != EXT4_ORPHAN_MAGIC ||
			(f->fs->has_checksums && orphan_tail(f->fs, f->buffer)->checksum != orphan_checksum(f->fs, f->file, f->buffer))) {
			f->error = ext4_corrupt(f->fs, "block %u of the orphan file is wrong", f->at);
			buffer_put(f->fs, f->buffer);
			break;
		}
		for (f->i = 0; f->i < orphan_slots(f->fs) && !f->error; f->i++) {
			f->number = ((u32 *)f->buffer->data)[f->i];
			if (!f->number)
				continue;
			AWAIT(orphan_clean, .fs = f->fs, .number = f->number);
			f->error = RESULT;
			f->cleaned++;
			AWAIT(ext4_begin, .fs = f->fs);
			if (RESULT < 0) {
				f->error = RESULT;
				break;
			}
			BUFFER_ACCESS(f->fs, f->buffer);
			((u32 *)f->buffer->data)[f->i] = 0;
			orphan_tail(f->fs, f->buffer)->checksum = orphan_checksum(f->fs, f->file, f->buffer);
			buffer_dirty(f->fs, f->buffer);
			ext4_end(f->fs);
		}
		buffer_put(f->fs, f->buffer);
	}
	AWAIT(inode_put, .inode = f->file);
	ASYNC_RETURN(f->error ? f->error : (long)f->cleaned);
	ASYNC_END;
}

ASYNC_DEFINE(orphans_clean)
{
	ASYNC_BEGIN;
	f->number = f->fs->super->last_orphan;
	f->fs->super->last_orphan = 0;
	/* The list may be a ring: no more than there are inodes. */
	for (; f->number && f->guard < f->fs->inodes; f->guard++) {
		AWAIT(orphan_clean, .fs = f->fs, .number = f->number, .next = &f->next);
		if (RESULT < 0) {
			/* What it leads to is unknown then: e2fsck finds it. */
			f->error = RESULT;
			break;
		}
		f->cleaned++;
		f->number = f->next;
	}
	if (!f->error && (f->fs->compat & COMPAT_ORPHAN_FILE) && (f->fs->ro_compat & RO_COMPAT_ORPHAN_PRESENT)) {
		AWAIT(orphan_file_clean, .fs = f->fs);
		f->error = min(RESULT, 0l);
		if (RESULT > 0)
			f->cleaned += (u32)RESULT;
		if (!f->error) {
			f->fs->ro_compat &= ~RO_COMPAT_ORPHAN_PRESENT;
			f->fs->super->feature_ro_compat = f->fs->ro_compat;
			buffer_dirty(f->fs, f->fs->super_buffer);
		}
	}
	if (f->cleaned)
		log_info("ext4 %s: %u orphans freed", f->fs->device->name, f->cleaned);
	/* A damaged list is logged, and no reason not to mount. */
	ASYNC_RETURN(0);
	ASYNC_END;
}
