// SPDX-License-Identifier: MIT
/*
 * rename(2). Two directories are locked ancestor first (sb->rename_mutex keeps the tree still meanwhile), else by address; then
 * the inodes that are moved or replaced, by address.
 */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/fs.h>

/* The order in which two inodes are locked; the second is NULL if they are the same or there is one alone. */
struct lock_pair {
	struct inode *first, *second;
};

static struct lock_pair pair_of(struct inode *a, struct inode *b)
{
	if (!a || !b || a == b)
		return (struct lock_pair){a ? a : b, NULL};
	return a < b ? (struct lock_pair){a, b} : (struct lock_pair){b, a};
}

struct rename {
	struct lookup from, to;
	struct dentry *old, *new; /* counted */
	struct lock_pair dirs, inodes;
	bool mutex;
};

/* What may be renamed to what: -EINVAL, -ENOTEMPTY and the like. The directories are locked. */
static long check_rename(struct rename *r, u32 flags)
{
	struct inode *old_dir = r->from.path.dentry->inode, *new_dir = r->to.path.dentry->inode;
	struct inode *inode = r->old->inode, *over = r->new->inode;
	bool directory, over_is_directory;
	long error;

	if (!inode)
		return -ENOENT;
	if (over && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!over && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	directory = S_ISDIR(inode->mode);
	over_is_directory = over && S_ISDIR(over->mode);
	if (flags & RENAME_EXCHANGE) {
		if (!over_is_directory && r->to.slash)
			return -ENOTDIR;
	}
	if (!directory && (r->from.slash || (!(flags & RENAME_EXCHANGE) && r->to.slash)))
		return -ENOTDIR;
	/* Neither into itself, nor over one that it lies in. */
	if (dentry_is_below(r->to.path.dentry, r->old))
		return -EINVAL;
	if (dentry_is_below(r->from.path.dentry, r->new))
		return flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	error = mount_writable(r->from.path.mount);
	if (error)
		return error;
	if (inode == over)
		return 0; /* nothing to do: two names of one file */
	error = may_delete(old_dir, inode, directory);
	if (!error)
		error = over ? may_delete(new_dir, over, flags & RENAME_EXCHANGE ? over_is_directory : directory) : may_create(new_dir);
	/* A directory's ".." changes: that is a write to it. */
	if (!error && directory && old_dir != new_dir)
		error = inode_permission(inode, MAY_WRITE);
	if (!error && over_is_directory && (flags & RENAME_EXCHANGE) && old_dir != new_dir)
		error = inode_permission(over, MAY_WRITE);
	if (!error && !old_dir->ops->rename)
		error = -EPERM;
	if (!error && ((r->old->flags | r->new->flags) & DENTRY_MOUNTED))
		error = -EBUSY;
	return error;
}

static void rename_notify(struct rename *r, u32 flags)
{
	static _Atomic u32 cookies;
	struct inode *old_dir = r->from.path.dentry->inode, *new_dir = r->to.path.dentry->inode;
	u32 cookie = atomic_fetch_add(&cookies, 1) + 1;
	u32 directory = S_ISDIR(r->old->inode->mode) ? IN_ISDIR : 0;

	if (old_dir->watches)
		notify_inode(old_dir, IN_MOVED_FROM | directory, &r->from.last, cookie);
	if (new_dir->watches)
		notify_inode(new_dir, IN_MOVED_TO | directory, &r->to.last, cookie);
	NOTIFY(r->old->inode, IN_MOVE_SELF);
	if (r->new->inode && !(flags & RENAME_EXCHANGE))
		NOTIFY(r->new->inode, r->new->inode->nlink ? IN_ATTRIB : IN_DELETE_SELF);
}

/* Everything is looked up and the directories are locked. */
ASYNC(rename_locked, struct rename *rename; u32 flags; long error;)
{
	struct rename *r = f->rename;
	struct inode *old_dir = r->from.path.dentry->inode, *new_dir = r->to.path.dentry->inode;

	ASYNC_BEGIN;
	f->error = check_rename(r, f->flags);
	if (f->error || r->old->inode == r->new->inode)
		ASYNC_RETURN(f->error);
	r->inodes = pair_of(r->old->inode, r->new->inode);
	INODE_LOCK(r->inodes.first);
	if (r->inodes.second)
		INODE_LOCK(r->inodes.second);
	AWAIT_OP(old_dir->ops->rename, inode_rename, .from_dir = old_dir, .from = &r->from.last, .inode = r->old->inode,
		.to_dir = new_dir, .to = &r->to.last, .over = r->new->inode, .flags = f->flags);
	f->error = RESULT;
	if (r->inodes.second)
		INODE_UNLOCK(r->inodes.second);
	INODE_UNLOCK(r->inodes.first);
	if (f->error)
		ASYNC_RETURN(f->error);
	if (unlikely(notify_in_use))
		rename_notify(r, f->flags);
	AWAIT(dentry_move, .from = r->old, .over = r->new, .exchange = f->flags & RENAME_EXCHANGE);
	ASYNC_END;
}

/* The directories in the order of locking. sb->rename_mutex is held if they differ. */
static struct lock_pair order_directories(struct rename *r)
{
	struct dentry *a = r->from.path.dentry, *b = r->to.path.dentry;

	if (a == b)
		return (struct lock_pair){a->inode, NULL};
	if (dentry_is_below(b, a))
		return (struct lock_pair){a->inode, b->inode};
	if (dentry_is_below(a, b))
		return (struct lock_pair){b->inode, a->inode};
	return pair_of(a->inode, b->inode);
}

ASYNC(rename_lookups, struct rename *rename; u32 flags; long error;)
{
	struct rename *r = f->rename;
	struct superblock *sb = r->from.path.mount->sb;

	ASYNC_BEGIN;
	if (r->from.path.mount != r->to.path.mount)
		ASYNC_RETURN(-EXDEV);
	if (r->from.last_type != LAST_NORMAL)
		ASYNC_RETURN(-EBUSY);
	if (r->to.last_type != LAST_NORMAL)
		ASYNC_RETURN(f->flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY);
	r->mutex = r->from.path.dentry != r->to.path.dentry;
	if (r->mutex)
		AWAIT(mutex_lock, .mutex = &sb->rename_mutex);
	r->dirs = order_directories(r);
	do {
		INODE_LOCK(r->dirs.first);
		if (r->dirs.second)
			INODE_LOCK(r->dirs.second);
		AWAIT(dentry_lookup, .parent = r->from.path.dentry, .name = &r->from.last);
		f->error = IS_ERR(RESULT) ? RESULT : 0;
		if (!f->error) {
			r->old = (struct dentry *)RESULT;
			AWAIT(dentry_lookup, .parent = r->to.path.dentry, .name = &r->to.last);
			f->error = IS_ERR(RESULT) ? RESULT : 0;
			if (!f->error)
				r->new = (struct dentry *)RESULT;
		}
		if (!f->error) {
			AWAIT(rename_locked, .rename = r, .flags = f->flags);
			f->error = RESULT;
		}
		if (r->dirs.second)
			INODE_UNLOCK(r->dirs.second);
		INODE_UNLOCK(r->dirs.first);
		if (r->new)
			AWAIT(dentry_put, .dentry = r->new);
		if (r->old)
			AWAIT(dentry_put, .dentry = r->old);
		r->old = r->new = NULL;
	} while (f->error == -EAGAIN);
	if (r->mutex)
		mutex_unlock(&sb->rename_mutex);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* The two walks are some 250 bytes: kept off the async stack of who waits for a lock. */
ASYNC(do_rename, int from_fd; const char __user *from; int to_fd; const char __user *to; u32 flags; char *from_name; char *to_name;
	struct rename *rename; long error;)
{
	struct rename *r = f->rename;

	ASYNC_BEGIN;
	if ((f->flags & ~(u32)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) ||
		((f->flags & RENAME_EXCHANGE) && (f->flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))))
		ASYNC_RETURN(-EINVAL);
	if (f->flags & RENAME_WHITEOUT)
		ASYNC_RETURN(-EINVAL); /* as a file system without whiteouts says */
	AWAIT(name_copy_in, .from = f->from);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->from_name = (char *)RESULT;
	AWAIT(name_copy_in, .from = f->to);
	if (IS_ERR(RESULT)) {
		name_free(f->from_name);
		ASYNC_RETURN(RESULT);
	}
	f->to_name = (char *)RESULT;
	f->rename = r = kzalloc(sizeof(*r));
	f->error = r ? lookup_begin(&r->from, f->from_fd, f->from_name, LOOKUP_PARENT) : -ENOMEM;
	if (!f->error) {
		AWAIT(lookup_walk, .lookup = &r->from);
		f->error = RESULT;
	}
	if (!f->error)
		f->error = lookup_begin(&r->to, f->to_fd, f->to_name, LOOKUP_PARENT);
	if (!f->error) {
		AWAIT(lookup_walk, .lookup = &r->to);
		f->error = RESULT;
	}
	if (!f->error) {
		AWAIT(rename_lookups, .rename = r, .flags = f->flags);
		f->error = RESULT;
	}
	if (r) {
		AWAIT(lookup_end, .lookup = &r->from);
		AWAIT(lookup_end, .lookup = &r->to);
		kfree(r);
	}
	name_free(f->from_name);
	name_free(f->to_name);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(renameat, 4, SYS_ARG(int, from_fd) SYS_ARG(const char __user *, from) SYS_ARG(int, to_fd) SYS_ARG(const char __user *, to))
{
	ASYNC_BEGIN;
	AWAIT(do_rename, .from_fd = f->from_fd, .from = f->from, .to_fd = f->to_fd, .to = f->to);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(renameat2, 5, SYS_ARG(int, from_fd) SYS_ARG(const char __user *, from) SYS_ARG(int, to_fd) SYS_ARG(const char __user *, to) SYS_ARG(u32, flags))
{
	ASYNC_BEGIN;
	AWAIT(do_rename, .from_fd = f->from_fd, .from = f->from, .to_fd = f->to_fd, .to = f->to, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
