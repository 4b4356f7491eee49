// SPDX-License-Identifier: MIT
/* Which file systems there are, and the instances of them that are mounted: how those begin, are written, and end. */
#include "internal.h"
#include <lichen/block.h>

static spinlock_t superblock_lock = SPINLOCK_INIT; /* guards the two lists, and sb->mounts 1 -> 0 */
static struct list filesystems = LIST_INIT(filesystems);
static struct list superblocks = LIST_INIT(superblocks);
static struct mutex mount_mutex = MUTEX_INIT(mount_mutex); /* one mount or unmount of a superblock at a time */

void filesystem_register(struct filesystem *fs)
{
	spin_lock(&superblock_lock);
	list_add_tail(&filesystems, &fs->node);
	spin_unlock(&superblock_lock);
}

struct filesystem *filesystem_find(const char *name)
{
	struct filesystem *fs, *found = NULL;

	spin_lock(&superblock_lock);
	list_for_each(fs, &filesystems, node)
		if (!strcmp(fs->name, name))
			found = fs;
	spin_unlock(&superblock_lock);
	return found;
}

void filesystem_for_each(void (*fn)(struct filesystem *fs, void *arg), void *arg)
{
	struct filesystem *fs;

	/* They are registered at boot and stay. */
	list_for_each(fs, &filesystems, node)
		fn(fs, arg);
}

struct superblock *superblock_alloc(struct filesystem *fs)
{
	static _Atomic u32 anonymous;
	struct superblock *sb = kzalloc(sizeof(*sb));

	if (!sb)
		return NULL;
	sb->fs = fs;
	sb->dev = MAKE_DEV(0, atomic_fetch_add(&anonymous, 1) + 1);
	sb->block_size = PAGE_SIZE;
	list_init(&sb->inodes);
	mutex_init(&sb->rename_mutex);
	spin_lock(&superblock_lock);
	list_add_tail(&superblocks, &sb->node);
	spin_unlock(&superblock_lock);
	return sb;
}

static void superblock_free(struct superblock *sb)
{
	spin_lock(&superblock_lock);
	list_remove(&sb->node);
	spin_unlock(&superblock_lock);
	kfree(sb);
}

long superblock_set_root(struct superblock *sb, struct inode *inode)
{
	struct name name = {.text = "", .length = 0};

	sb->root = dentry_alloc(sb, &name);
	if (!sb->root)
		return -ENOMEM;
	sb->root->inode = inode;
	return 0;
}

static struct superblock *find_mounted(struct filesystem *fs, struct block_device *device)
{
	struct superblock *sb, *found = NULL;

	spin_lock(&superblock_lock);
	list_for_each(sb, &superblocks, node) {
		if (sb->fs == fs && sb->device == device && atomic_load(&sb->mounts)) {
			atomic_fetch_add(&sb->mounts, 1);
			found = sb;
		}
	}
	spin_unlock(&superblock_lock);
	return found;
}

ASYNC_DEFINE(superblock_mount)
{
	ASYNC_BEGIN;
	if (f->fs->flags & FS_NEEDS_DEVICE) {
		if (!f->source || !*f->source)
			ASYNC_RETURN(-EINVAL);
		AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->source, .flags = LOOKUP_FOLLOW, .path = &f->path);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->error = -ENOTBLK;
		if (S_ISBLK(f->path.dentry->inode->mode)) {
			f->device = block_find_dev(f->path.dentry->inode->rdev);
			f->error = f->device ? 0 : -ENXIO;
			if (f->path.mount->flags & MS_NODEV)
				f->error = -EACCES;
		}
		AWAIT(path_put, .path = &f->path);
		if (f->error)
			ASYNC_RETURN(f->error);
	}
	AWAIT(mutex_lock, .mutex = &mount_mutex);
	if (f->fs->single) {
		atomic_fetch_add(&f->fs->single->mounts, 1);
		mutex_unlock(&mount_mutex);
		ASYNC_RETURN((long)f->fs->single);
	}
	if (f->device) {
		f->sb = find_mounted(f->fs, f->device);
		if (f->sb) {
			f->error = (f->sb->flags ^ f->flags) & MS_RDONLY ? -EBUSY : 0;
			mutex_unlock(&mount_mutex);
			if (f->error)
				AWAIT(superblock_put, .sb = f->sb);
			ASYNC_RETURN(f->error ? f->error : (long)f->sb);
		}
	}
	f->sb = superblock_alloc(f->fs);
	f->error = -ENOMEM;
	if (f->sb) {
		f->sb->flags = f->flags & (MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME);
		f->sb->device = f->device;
		if (f->device)
			f->sb->dev = f->device->dev;
		AWAIT_OP(f->fs->mount, fs_mount, .sb = f->sb, .source = f->source, .data = f->data);
		f->error = RESULT;
		if (f->error < 0)
			superblock_free(f->sb);
	}
	if (f->error >= 0) {
		/* A single instance is kept by its file system for good. */
		atomic_store(&f->sb->mounts, f->fs->flags & FS_SINGLE ? 2 : 1);
		if (f->fs->flags & FS_SINGLE)
			f->fs->single = f->sb;
	}
	mutex_unlock(&mount_mutex);
	ASYNC_RETURN(f->error < 0 ? f->error : (long)f->sb);
	ASYNC_END;
}

ASYNC_DEFINE(superblock_sync)
{
	ASYNC_BEGIN;
	AWAIT(inode_sync_all, .sb = f->sb);
	f->error = RESULT;
	if (f->sb->fs->sync && !(f->sb->flags & MS_RDONLY)) {
		AWAIT_OP(f->sb->fs->sync, fs_sb, .sb = f->sb);
		if (!f->error)
			f->error = RESULT;
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(superblock_put)
{
	bool last;

	ASYNC_BEGIN;
	spin_lock(&superblock_lock);
	last = atomic_load(&f->sb->mounts) == 1;
	if (!last)
		atomic_fetch_sub(&f->sb->mounts, 1);
	spin_unlock(&superblock_lock);
	if (!last)
		ASYNC_RETURN(0);
	AWAIT(mutex_lock, .mutex = &mount_mutex);
	spin_lock(&superblock_lock);
	last = atomic_fetch_sub(&f->sb->mounts, 1) == 1; /* from now on nobody finds it */
	spin_unlock(&superblock_lock);
	if (last) {
		AWAIT(notify_unmount, .sb = f->sb);
		AWAIT(dentry_prune_tree, .root = f->sb->root);
		AWAIT(superblock_sync, .sb = f->sb);
		f->error = RESULT;
		AWAIT(dentry_put, .dentry = f->sb->root);
		AWAIT(inode_evict_all, .sb = f->sb);
		if (f->sb->fs->unmount)
			AWAIT_OP(f->sb->fs->unmount, fs_sb, .sb = f->sb);
		superblock_free(f->sb);
	}
	mutex_unlock(&mount_mutex);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

struct superblock *superblock_next(struct superblock *after)
{
	struct superblock *found = NULL;
	struct list *node;

	spin_lock(&superblock_lock);
	for (node = after ? after->node.next : superblocks.next; node != &superblocks; node = node->next) {
		struct superblock *sb = list_entry(node, struct superblock, node);

		if (atomic_load(&sb->mounts)) {
			atomic_fetch_add(&sb->mounts, 1);
			found = sb;
			break;
		}
	}
	spin_unlock(&superblock_lock);
	return found;
}
