// SPDX-License-Identifier: MIT
/*
 * Names: looked up, made, linked, removed, renamed. The VFS holds the locks of the directories and inodes that are changed. Everything
 * that one call changes is one operation, so that the disk sees all of it or nothing.
 */
#include <lichen/irq.h>
#include <lichen/timer.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include "ext4.h"

#define EXT4_LINK_MAX 65000u

static struct timespec64_ now(void)
{
	nsec_t t = time_realtime();

	return (struct timespec64_){(s64)(t / NSEC_PER_SEC), (u32)(t % NSEC_PER_SEC)};
}

/* A directory's entries have changed: its times; the caller stores it. */
static void dir_changed(struct inode *dir)
{
	dir->mtime = dir->ctime = now();
	dir->version++;
}

/* Link counts of directories with very many subdirectories are not kept (1). */
static void dir_nlink_add(struct inode *dir)
{
	if (dir->nlink != 1 && ++dir->nlink >= EXT4_LINK_MAX)
		dir->nlink = 1;
}

static void dir_nlink_sub(struct inode *dir)
{
	if (dir->nlink > 2)
		dir->nlink--;
}

ASYNC(ext4_lookup, INODE_LOOKUP_ARGS struct dir_slot slot; u32 number;)
{
	ASYNC_BEGIN;
	AWAIT(dir_find, .dir = f->dir, .name = f->name, .slot = &f->slot);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->number = dir_entry(f->slot.buffer, f->slot.offset)->inode;
	buffer_put(ext4_of(f->dir), f->slot.buffer);
	AWAIT(ext4_iget, .fs = ext4_of(f->dir), .number = f->number);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- create --- */

/* The first block of a directory: "." and "..". In an operation. */
ASYNC(dir_begin, struct inode *inode; struct inode *parent; struct buffer *buffer;)
{
	struct ext4 *fs = ext4_of(f->inode);

	ASYNC_BEGIN;
	AWAIT(ext4_dir_append, .dir = f->inode);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	fs = ext4_of(f->inode);
	dir_leaf_init(fs, node_of(f->inode), f->buffer);
	dir_insert(fs, f->buffer, ".", 1, (u32)f->inode->number, dir_file_type(S_IFDIR));
	dir_insert(fs, f->buffer, "..", 2, (u32)f->parent->number, dir_file_type(S_IFDIR));
	buffer_dirty_unsealed(fs, f->buffer);
	buffer_put(fs, f->buffer);
	ASYNC_END;
}

/* The text of a symbolic link: in the inode if it fits, else in a block. In an operation. */
ASYNC(link_begin, struct inode *inode; const char *target; size_t length; struct ext4_map map; long error;)
{
	struct ext4_node *node = node_of(f->inode);
	struct buffer *buffer;

	ASYNC_BEGIN;
	f->length = strlen(f->target);
	if (f->length >= ext4_of(f->inode)->block_size)
		ASYNC_RETURN(-ENAMETOOLONG);
	f->inode->size = f->length;
	if (f->length < sizeof(node->data)) {
		node->flags &= ~EXT4_EXTENTS_FL;
		memset(node->data, 0, sizeof(node->data));
		memcpy(node->data, f->target, f->length);
		f->inode->target = kstrdup(f->target);
		ASYNC_RETURN(f->inode->target ? 0 : -ENOMEM);
	}
	MAP_WRITE_LOCK(node_of(f->inode));
	AWAIT(ext4_map_alloc, .fs = ext4_of(f->inode), .node = node_of(f->inode), .logical = 0, .length = 1, .map = &f->map);
	f->error = RESULT;
	rwlock_write_unlock(&node_of(f->inode)->map_lock);
	if (f->error)
		ASYNC_RETURN(f->error);
	AWAIT(buffer_new, .fs = ext4_of(f->inode), .block = f->map.physical);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	buffer = (struct buffer *)RESULT;
	memcpy(buffer->data, f->target, f->length);
	buffer_dirty(ext4_of(f->inode), buffer);
	buffer_put(ext4_of(f->inode), buffer);
	ASYNC_RETURN(0);
	ASYNC_END;
}

/* A node for a new inode of that number, not yet on the disk. */
static struct ext4_node *node_make(struct ext4 *fs, struct inode *dir, u32 number, mode_t mode, dev_t rdev)
{
	struct ext4_node *node = node_new(fs, number);
	struct inode *inode;

	if (!node)
		return NULL;
	inode = &node->inode;
	inode_init_owner(inode, dir, mode);
	inode->rdev = rdev;
	inode->nlink = S_ISDIR(mode) ? 2 : 1;
	inode->atime = inode->mtime = inode->ctime = inode->btime = now();
	random_bytes(&node->generation, sizeof(node->generation));
	node->flags = node_of(dir)->flags & EXT4_INHERITED_FL;
	node->extra_isize = inode_extra_bytes(fs);
	if (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)) {
		node->flags |= EXT4_EXTENTS_FL;
		extent_init(node);
	}
	ext4_set_ops(node);
	return node;
}

ASYNC(ext4_create, INODE_CREATE_ARGS struct ext4 *fs; struct ext4_node *node; u32 number; long error;)
{
	ASYNC_BEGIN;
	f->fs = ext4_of(f->dir);
	AWAIT(ext4_begin, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(inode_alloc, .fs = f->fs, .dir = f->dir, .mode = f->mode);
	if (RESULT < 0) {
		ext4_end(f->fs);
		ASYNC_RETURN(RESULT);
	}
	f->number = (u32)RESULT;
	f->node = node_make(f->fs, f->dir, f->number, f->mode, f->rdev);
	if (!f->node) {
		AWAIT(inode_free, .fs = f->fs, .number = f->number, .directory = S_ISDIR(f->mode));
		ext4_end(f->fs);
		ASYNC_RETURN(-ENOMEM);
	}
	if (S_ISDIR(f->mode)) {
		AWAIT(dir_begin, .inode = &f->node->inode, .parent = f->dir);
		f->error = RESULT;
	} else if (S_ISLNK(f->mode)) {
		AWAIT(link_begin, .inode = &f->node->inode, .target = f->target);
		f->error = RESULT;
	}
	if (!f->error && f->name) {
		AWAIT(dir_add, .dir = f->dir, .name = f->name, .number = f->number, .type = dir_file_type(f->mode));
		f->error = RESULT;
	}
	if (f->error || !f->name)
		f->node->inode.nlink = 0;
	if (!f->error && !f->name)
		AWAIT(orphan_add, .fs = f->fs, .node = f->node);
	AWAIT(ext4_store, .fs = f->fs, .node = f->node, .fresh = true);
	if (RESULT < 0 && !f->error)
		f->error = RESULT;
	if (!f->error && f->name) {
		if (S_ISDIR(f->mode))
			dir_nlink_add(f->dir);
		dir_changed(f->dir);
	}
	/* Even after an error: it may have grown. */
	AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->dir));
	ext4_end(f->fs);
	if (!f->error)
		f->error = inode_hash(&f->node->inode);
	if (!f->error)
		ASYNC_RETURN((long)&f->node->inode);
	f->node->inode.nlink = 0; /* the last reference frees it on the disk */
	AWAIT(inode_put, .inode = &f->node->inode);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- link, unlink --- */

ASYNC(ext4_link, INODE_LINK_ARGS struct ext4 *fs; long error;)
{
	ASYNC_BEGIN;
	if (f->inode->nlink >= EXT4_LINK_MAX)
		ASYNC_RETURN(-EMLINK);
	f->fs = ext4_of(f->dir);
	AWAIT(ext4_begin, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(dir_add, .dir = f->dir, .name = f->name, .number = (u32)f->inode->number, .type = dir_file_type(f->inode->mode));
	f->error = RESULT;
	if (!f->error) {
		/* One that had no name is no orphan any more. */
		if (!f->inode->nlink)
			AWAIT(orphan_remove, .fs = f->fs, .node = node_of(f->inode));
		f->inode->nlink++;
		f->inode->ctime = now();
		dir_changed(f->dir);
		AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->inode));
		f->error = RESULT;
	}
	AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->dir));
	ext4_end(f->fs);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* A name of the inode went: its count, and whether it is an orphan now. In an operation. */
ASYNC(name_gone, struct ext4 *fs; struct inode *inode;)
{
	ASYNC_BEGIN;
	if (S_ISDIR(f->inode->mode) || !f->inode->nlink)
		f->inode->nlink = 0;
	else
		f->inode->nlink--;
	f->inode->ctime = now();
	if (!f->inode->nlink)
		AWAIT(orphan_add, .fs = f->fs, .node = node_of(f->inode));
	AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->inode));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* The entry of `name`, which must lead to `inode`. */
ASYNC(entry_get, struct inode *dir; const struct name *name; struct inode *inode; struct dir_slot *slot;)
{
	ASYNC_BEGIN;
	AWAIT(dir_find, .dir = f->dir, .name = f->name, .slot = f->slot);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (dir_entry(f->slot->buffer, f->slot->offset)->inode != f->inode->number) {
		buffer_put(ext4_of(f->dir), f->slot->buffer);
		f->slot->buffer = NULL;
		ASYNC_RETURN(-ENOENT);
	}
	ASYNC_END;
}

ASYNC(ext4_unlink, INODE_UNLINK_ARGS struct ext4 *fs; struct dir_slot slot; long error;)
{
	ASYNC_BEGIN;
	f->fs = ext4_of(f->dir);
	if (S_ISDIR(f->inode->mode)) {
		AWAIT(dir_is_empty, .dir = f->inode);
		if (RESULT <= 0)
			ASYNC_RETURN(RESULT ? RESULT : -ENOTEMPTY);
	}
	AWAIT(ext4_begin, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(entry_get, .dir = f->dir, .name = f->name, .inode = f->inode, .slot = &f->slot);
	f->error = RESULT;
	if (!f->error) {
		AWAIT(dir_remove, .dir = f->dir, .slot = &f->slot);
		buffer_put(f->fs, f->slot.buffer);
		AWAIT(name_gone, .fs = f->fs, .inode = f->inode);
		f->error = RESULT;
		if (S_ISDIR(f->inode->mode))
			dir_nlink_sub(f->dir);
		dir_changed(f->dir);
		AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->dir));
		if (RESULT < 0 && !f->error)
			f->error = RESULT;
	}
	ext4_end(f->fs);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- rename --- */

/* Makes an entry lead to another inode. In an operation. */
ASYNC(entry_set, struct inode *dir; struct dir_slot *slot; struct inode *inode;)
{
	struct ext4_dir_entry *entry;

	ASYNC_BEGIN;
	BUFFER_ACCESS(ext4_of(f->dir), f->slot->buffer);
	entry = dir_entry(f->slot->buffer, f->slot->offset);
	entry->inode = (u32)f->inode->number;
	if (ext4_of(f->dir)->incompat & INCOMPAT_FILETYPE)
		entry->file_type = dir_file_type(f->inode->mode);
	buffer_dirty_unsealed(ext4_of(f->dir), f->slot->buffer);
	ASYNC_END;
}

/* A directory has a new parent: its "..". In an operation. */
ASYNC(parent_set, struct inode *dir; struct inode *parent; struct buffer *buffer;)
{
	struct ext4_dir_entry *dots;
	long error;

	ASYNC_BEGIN;
	AWAIT(ext4_dir_block, .dir = f->dir, .logical = 0);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	if (dir_indexed(ext4_of(f->dir), f->dir))
		error = dx_check(ext4_of(f->dir), node_of(f->dir), f->buffer, 0);
	else
		error = dir_check(ext4_of(f->dir), node_of(f->dir), f->buffer, 0);
	dots = dir_entry(f->buffer, 12);
	if (!error && (dir_entry(f->buffer, 0)->rec_len != 12 || dots->name_len != 2 || dots->name[0] != '.' || dots->name[1] != '.'))
		error = ext4_corrupt(ext4_of(f->dir), "directory %llu does not begin with . and ..", (unsigned long long)f->dir->number);
	if (error) {
		buffer_put(ext4_of(f->dir), f->buffer);
		ASYNC_RETURN(error);
	}
	BUFFER_ACCESS(ext4_of(f->dir), f->buffer);
	dots = dir_entry(f->buffer, 12);
	dots->inode = (u32)f->parent->number;
	buffer_dirty_unsealed(ext4_of(f->dir), f->buffer);
	buffer_put(ext4_of(f->dir), f->buffer);
	ASYNC_END;
}

ASYNC_DECLARE(ext4_rename, INODE_RENAME_ARGS struct ext4 *fs; struct dir_slot slot; struct dir_slot other; long error;);

/* Two names change their inodes. In an operation. */
ASYNC(exchange, struct ext4_rename_frame *r; long error;)
{
	struct ext4_rename_frame *r = f->r;
	bool one, two;

	ASYNC_BEGIN;
	AWAIT(entry_get, .dir = f->r->from_dir, .name = f->r->from, .inode = f->r->inode, .slot = &f->r->slot);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(entry_get, .dir = f->r->to_dir, .name = f->r->to, .inode = f->r->over, .slot = &f->r->other);
	f->error = RESULT;
	if (!f->error) {
		AWAIT(entry_set, .dir = f->r->from_dir, .slot = &f->r->slot, .inode = f->r->over);
		AWAIT(entry_set, .dir = f->r->to_dir, .slot = &f->r->other, .inode = f->r->inode);
		buffer_put(f->r->fs, f->r->other.buffer);
	}
	buffer_put(f->r->fs, f->r->slot.buffer);
	if (f->error || f->r->from_dir == f->r->to_dir)
		ASYNC_RETURN(f->error);
	if (S_ISDIR(f->r->inode->mode))
		AWAIT(parent_set, .dir = f->r->inode, .parent = f->r->to_dir);
	if (S_ISDIR(f->r->over->mode))
		AWAIT(parent_set, .dir = f->r->over, .parent = f->r->from_dir);
	r = f->r;
	one = S_ISDIR(r->inode->mode);
	two = S_ISDIR(r->over->mode);
	if (one && !two) {
		dir_nlink_sub(r->from_dir);
		dir_nlink_add(r->to_dir);
	} else if (two && !one) {
		dir_nlink_sub(r->to_dir);
		dir_nlink_add(r->from_dir);
	}
	ASYNC_END;
}

/* The new name first, then the old one goes. In an operation. */
ASYNC(move, struct ext4_rename_frame *r; long error;)
{
	ASYNC_BEGIN;
	/* The old name must be there before anything is changed. */
	AWAIT(entry_get, .dir = f->r->from_dir, .name = f->r->from, .inode = f->r->inode, .slot = &f->r->slot);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	buffer_put(f->r->fs, f->r->slot.buffer);
	if (f->r->over) {
		AWAIT(entry_get, .dir = f->r->to_dir, .name = f->r->to, .inode = f->r->over, .slot = &f->r->other);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		AWAIT(entry_set, .dir = f->r->to_dir, .slot = &f->r->other, .inode = f->r->inode);
		buffer_put(f->r->fs, f->r->other.buffer);
		AWAIT(name_gone, .fs = f->r->fs, .inode = f->r->over);
		if (S_ISDIR(f->r->over->mode))
			dir_nlink_sub(f->r->to_dir);
	} else {
		AWAIT(dir_add, .dir = f->r->to_dir, .name = f->r->to, .number = (u32)f->r->inode->number, .type = dir_file_type(f->r->inode->mode));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	/* Again: the new name may have split the block in which the old one was. */
	AWAIT(entry_get, .dir = f->r->from_dir, .name = f->r->from, .inode = f->r->inode, .slot = &f->r->slot);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(dir_remove, .dir = f->r->from_dir, .slot = &f->r->slot);
	buffer_put(f->r->fs, f->r->slot.buffer);
	if (S_ISDIR(f->r->inode->mode) && f->r->from_dir != f->r->to_dir) {
		AWAIT(parent_set, .dir = f->r->inode, .parent = f->r->to_dir);
		f->error = RESULT;
		dir_nlink_sub(f->r->from_dir);
		dir_nlink_add(f->r->to_dir);
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(ext4_rename)
{
	ASYNC_BEGIN;
	f->fs = ext4_of(f->from_dir);
	if (f->flags & ~(u32)(RENAME_EXCHANGE | RENAME_NOREPLACE))
		ASYNC_RETURN(-EINVAL);
	if (f->over && !(f->flags & RENAME_EXCHANGE) && S_ISDIR(f->over->mode)) {
		AWAIT(dir_is_empty, .dir = f->over);
		if (RESULT <= 0)
			ASYNC_RETURN(RESULT ? RESULT : -ENOTEMPTY);
	}
	AWAIT(ext4_begin, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (f->flags & RENAME_EXCHANGE) {
		AWAIT(exchange, .r = f);
	} else {
		AWAIT(move, .r = f);
	}
	f->error = RESULT;
	if (!f->error) {
		f->inode->ctime = now();
		if (f->over && (f->flags & RENAME_EXCHANGE)) {
			f->over->ctime = f->inode->ctime;
			AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->over));
		}
		dir_changed(f->from_dir);
		dir_changed(f->to_dir);
		AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->inode));
	}
	AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->from_dir));
	if (f->to_dir != f->from_dir)
		AWAIT(ext4_store, .fs = f->fs, .node = node_of(f->to_dir));
	ext4_end(f->fs);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- symbolic links --- */

ASYNC(ext4_readlink, INODE_READLINK_ARGS struct buffer *buffer; size_t n;)
{
	ASYNC_BEGIN;
	f->n = min((size_t)f->inode->size, f->bytes);
	if (f->inode->target) {
		memcpy(f->buf, f->inode->target, f->n);
		ASYNC_RETURN(f->n);
	}
	AWAIT(ext4_dir_block, .dir = f->inode, .logical = 0);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	memcpy(f->buf, f->buffer->data, f->n);
	buffer_put(ext4_of(f->inode), f->buffer);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

const struct inode_ops ext4_dir_inode_ops = {
	.lookup = &ext4_lookup_fn,
	.create = &ext4_create_fn,
	.link = &ext4_link_fn,
	.unlink = &ext4_unlink_fn,
	.rename = &ext4_rename_fn,
	.setattr = &ext4_setattr_fn,
	.getxattr = &ext4_getxattr_fn,
};

const struct inode_ops ext4_symlink_inode_ops = {
	.readlink = &ext4_readlink_fn,
	.setattr = &ext4_setattr_fn,
	.getxattr = &ext4_getxattr_fn,
};
