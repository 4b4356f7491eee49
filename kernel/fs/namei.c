// SPDX-License-Identifier: MIT
/* Making and removing names: mkdir, mknod, symlink, link, unlink, rmdir. */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/fs.h>
#include <linux/limits.h>

/*
 * The place of a new name: walks to its directory, locks it, and finds that the name is free. 0: l->path is the directory, locked, and
 * *dentry a counted negative dentry. lookup_end() is the caller's in any case; parent_done() after success.
 */
ASYNC(find_new_place, struct lookup *lookup; int dirfd; const char *name; bool directory; struct dentry **dentry; long error;)
{
	struct lookup *l = f->lookup;
	struct inode *dir;

	ASYNC_BEGIN;
	f->error = lookup_begin(l, f->dirfd, f->name, LOOKUP_PARENT);
	if (f->error)
		ASYNC_RETURN(f->error);
	AWAIT(lookup_walk, .lookup = l);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (l->last_type != LAST_NORMAL)
		ASYNC_RETURN(-EEXIST);
	do {
		dir = l->path.dentry->inode;
		INODE_LOCK(dir);
		AWAIT(dentry_lookup, .parent = l->path.dentry, .name = &l->last);
		dir = l->path.dentry->inode;
		f->error = IS_ERR(RESULT) ? RESULT : 0;
		if (f->error)
			INODE_UNLOCK(dir);
	} while (f->error == -EAGAIN);
	if (f->error)
		ASYNC_RETURN(f->error);
	*f->dentry = (struct dentry *)RESULT;
	if ((*f->dentry)->inode)
		f->error = -EEXIST;
	else if (l->slash && !f->directory)
		f->error = -ENOENT;
	else
		f->error = mount_writable(l->path.mount);
	if (!f->error)
		f->error = may_create(dir);
	if (f->error) {
		INODE_UNLOCK(dir);
		AWAIT(dentry_put, .dentry = *f->dentry);
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* What the new name is of. */
static void created(struct lookup *l, u32 mask)
{
	struct inode *dir = l->path.dentry->inode;

	if (unlikely(dir->watches))
		notify_inode(dir, mask, &l->last, 0);
}

/* mkdir, mknod, symlink: all by the file system's create. Takes over kernel_name (and target): frees them. */
ASYNC(make_node, int dirfd; char *kernel_name; mode_t mode; dev_t rdev; char *target; struct dentry *dentry; long error; struct lookup lookup;)
{
	struct lookup *l = &f->lookup;
	struct inode *dir = l->path.dentry ? l->path.dentry->inode : NULL;

	ASYNC_BEGIN;
	AWAIT(find_new_place, .lookup = l, .dirfd = f->dirfd, .name = f->kernel_name, .directory = S_ISDIR(f->mode), .dentry = &f->dentry);
	f->error = RESULT;
	if (!f->error) {
		dir = l->path.dentry->inode;
		if (dir->ops->create)
			AWAIT_OP(dir->ops->create, inode_create, .dir = dir, .name = &l->last, .mode = f->mode, .rdev = f->rdev, .target = f->target);
		else
			RESULT = -EPERM;
		if (IS_ERR(RESULT)) {
			f->error = RESULT;
		} else {
			dentry_instantiate(f->dentry, (struct inode *)RESULT);
			created(l, IN_CREATE | (S_ISDIR(f->mode) ? IN_ISDIR : 0));
		}
		INODE_UNLOCK(l->path.dentry->inode);
		AWAIT(dentry_put, .dentry = f->dentry);
	}
	AWAIT(lookup_end, .lookup = l);
	name_free(f->kernel_name);
	if (f->target)
		name_free(f->target);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static mode_t masked(mode_t mode)
{
	return mode & ~current_thread()->fs->umask;
}

SYSCALL_ASYNC(mkdirat, 3, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(mode_t, mode))
{
	ASYNC_BEGIN;
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	AWAIT(make_node, .dirfd = f->dirfd, .kernel_name = (char *)RESULT, .mode = S_IFDIR | masked(f->mode & (01777)));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(mknodat, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(mode_t, mode) SYS_ARG(u32, dev))
{
	mode_t type = f->mode & S_IFMT;

	ASYNC_BEGIN;
	if (!type)
		type = S_IFREG;
	if (type == S_IFDIR)
		ASYNC_RETURN(-EPERM);
	if (type != S_IFREG && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO && type != S_IFSOCK)
		ASYNC_RETURN(-EINVAL);
	/* Whiteouts (0:0) are anybody's. */
	if ((type == S_IFBLK || (type == S_IFCHR && f->dev)) && !capable(CAP_MKNOD))
		ASYNC_RETURN(-EPERM);
	f->mode = type | (f->mode & 07777);
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	AWAIT(make_node, .dirfd = f->dirfd, .kernel_name = (char *)RESULT, .mode = (f->mode & S_IFMT) | masked(f->mode & 07777), .rdev = dev_decode(f->dev));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(symlinkat, 3, SYS_ARG(const char __user *, target) SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) char *kernel_target;)
{
	ASYNC_BEGIN;
	AWAIT(name_copy_in, .from = f->target);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_target = (char *)RESULT;
	if (!*f->kernel_target) {
		name_free(f->kernel_target);
		ASYNC_RETURN(-ENOENT);
	}
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT)) {
		name_free(f->kernel_target);
		ASYNC_RETURN(RESULT);
	}
	AWAIT(make_node, .dirfd = f->dirfd, .kernel_name = (char *)RESULT, .mode = S_IFLNK | 0777, .target = f->kernel_target);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/*
 * As Debian's Linux has it (fs.protected_hardlinks): who does not own a file may link it only if he could read and write it
 * anyway, and nothing is to be gained by its mode.
 */
static long may_link(struct inode *inode)
{
	if (inode_owned(inode))
		return 0;
	if (!S_ISREG(inode->mode) || (inode->mode & S_ISUID) || (inode->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		return -EPERM;
	return inode_permission(inode, MAY_READ | MAY_WRITE) ? -EPERM : 0;
}

SYSCALL_ASYNC(linkat, 5, SYS_ARG(int, from_fd) SYS_ARG(const char __user *, from) SYS_ARG(int, to_fd) SYS_ARG(const char __user *, to) SYS_ARG(u32, flags)
	struct path path; char *kernel_name; struct dentry *dentry; long error; bool locked; struct lookup lookup;)
{
	struct lookup *l = &f->lookup;
	struct inode *inode = f->path.dentry ? f->path.dentry->inode : NULL, *dir;

	ASYNC_BEGIN;
	if (f->flags & ~(u32)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		ASYNC_RETURN(-EINVAL);
	if ((f->flags & AT_EMPTY_PATH) && !capable(CAP_DAC_READ_SEARCH))
		f->flags &= ~(u32)AT_EMPTY_PATH; /* an empty name is ENOENT then */
	AWAIT(path_at, .dirfd = f->from_fd, .name = f->from, .path = &f->path,
		.flags = (f->flags & AT_EMPTY_PATH) | (f->flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(name_copy_in, .from = f->to);
	f->error = IS_ERR(RESULT) ? RESULT : 0;
	if (f->error)
		goto out;
	f->kernel_name = (char *)RESULT;
	AWAIT(find_new_place, .lookup = l, .dirfd = f->to_fd, .name = f->kernel_name, .dentry = &f->dentry);
	f->error = RESULT;
	if (!f->error) {
		inode = f->path.dentry->inode;
		dir = l->path.dentry->inode;
		if (f->path.mount != l->path.mount)
			f->error = -EXDEV;
		else
			f->error = may_link(inode);
		if (!f->error && (S_ISDIR(inode->mode) || !dir->ops->link))
			f->error = -EPERM;
		if (!f->error) {
			INODE_LOCK(inode);
			f->locked = true;
			inode = f->path.dentry->inode;
			dir = l->path.dentry->inode;
			/* A file that lost all its names gets none, unless it was made without (O_TMPFILE). */
			if (!inode->nlink && !(inode->state & INODE_LINKABLE))
				f->error = -ENOENT;
			else if (inode->nlink >= 65000)
				f->error = -EMLINK;
		}
		if (!f->error) {
			AWAIT_OP(l->path.dentry->inode->ops->link, inode_link, .dir = l->path.dentry->inode, .name = &l->last, .inode = inode);
			f->error = RESULT;
		}
		if (!f->error) {
			inode = f->path.dentry->inode;
			inode_get(inode);
			atomic_fetch_and(&inode->state, ~INODE_LINKABLE);
			dentry_instantiate(f->dentry, inode);
			created(l, IN_CREATE);
		}
		if (f->locked)
			INODE_UNLOCK(f->path.dentry->inode);
		INODE_UNLOCK(l->path.dentry->inode);
		AWAIT(dentry_put, .dentry = f->dentry);
	}
	AWAIT(lookup_end, .lookup = l);
	name_free(f->kernel_name);
out:
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* The name is there, the directory locked: what unlink and rmdir do with it. */
ASYNC(remove_name, struct lookup *lookup; struct dentry *dentry; bool directory; long error;)
{
	struct lookup *l = f->lookup;
	struct inode *dir = l->path.dentry->inode, *inode = f->dentry->inode;

	ASYNC_BEGIN;
	f->error = mount_writable(l->path.mount);
	if (!f->error)
		f->error = may_delete(dir, inode, f->directory);
	if (!f->error && !dir->ops->unlink)
		f->error = -EPERM;
	if (f->error)
		ASYNC_RETURN(f->error);
	INODE_LOCK(inode);
	if (f->dentry->flags & DENTRY_MOUNTED) {
		f->error = -EBUSY;
	} else {
		AWAIT_OP(dir->ops->unlink, inode_unlink, .dir = dir, .name = &l->last, .inode = inode);
		f->error = RESULT;
	}
	INODE_UNLOCK(inode);
	if (f->error)
		ASYNC_RETURN(f->error);
	if (unlikely(inode->watches))
		notify_inode(inode, f->directory || !inode->nlink ? IN_DELETE_SELF : IN_ATTRIB, NULL, 0);
	if (unlikely(dir->watches))
		notify_inode(dir, IN_DELETE | (f->directory ? IN_ISDIR : 0), &l->last, 0);
	AWAIT(dentry_remove, .dentry = f->dentry);
	ASYNC_END;
}

SYSCALL_ASYNC(unlinkat, 3, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(u32, flags) char *kernel_name; struct dentry *dentry; long error; bool directory;
	struct lookup lookup;)
{
	struct lookup *l = &f->lookup;
	struct inode *dir;

	ASYNC_BEGIN;
	if (f->flags & ~(u32)AT_REMOVEDIR)
		ASYNC_RETURN(-EINVAL);
	f->directory = f->flags & AT_REMOVEDIR;
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_name = (char *)RESULT;
	f->error = lookup_begin(l, f->dirfd, f->kernel_name, LOOKUP_PARENT);
	if (!f->error) {
		AWAIT(lookup_walk, .lookup = l);
		f->error = RESULT;
	}
	if (f->error)
		goto out;
	if (l->last_type != LAST_NORMAL) {
		if (!f->directory)
			f->error = -EISDIR;
		else
			f->error = l->last_type == LAST_DOT ? -EINVAL : l->last_type == LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
		goto out;
	}
	do {
		dir = l->path.dentry->inode;
		INODE_LOCK(dir);
		AWAIT(dentry_lookup, .parent = l->path.dentry, .name = &l->last);
		dir = l->path.dentry->inode;
		f->error = IS_ERR(RESULT) ? RESULT : 0;
		if (f->error)
			INODE_UNLOCK(dir);
	} while (f->error == -EAGAIN);
	if (f->error)
		goto out;
	f->dentry = (struct dentry *)RESULT;
	if (!f->dentry->inode)
		f->error = -ENOENT;
	else if (l->slash && !f->directory)
		f->error = S_ISDIR(f->dentry->inode->mode) ? -EISDIR : -ENOTDIR;
	if (!f->error) {
		AWAIT(remove_name, .lookup = l, .dentry = f->dentry, .directory = f->directory);
		f->error = RESULT;
	}
	INODE_UNLOCK(l->path.dentry->inode);
	AWAIT(dentry_put, .dentry = f->dentry);
out:
	AWAIT(lookup_end, .lookup = l);
	name_free(f->kernel_name);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
