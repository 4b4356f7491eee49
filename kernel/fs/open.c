// SPDX-License-Identifier: MIT
/* Opening files: open(2) in all its forms. */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/openat2.h>

/* O_PATH files can do nothing. */
static const struct file_ops path_ops;
static const struct file_ops no_ops;

static u32 access_of(u32 flags)
{
	u32 access;

	if (flags & OPEN_EXEC)
		return MAY_EXEC;
	access = (flags + 1) & O_ACCMODE; /* FILE_READ, FILE_WRITE */
	return (access & FILE_READ ? MAY_READ : 0) | ((access & FILE_WRITE) || (flags & O_TRUNC) ? MAY_WRITE : 0) |
		((flags & O_ACCMODE) == O_ACCMODE ? MAY_READ | MAY_WRITE : 0);
}

/* May what the path leads to be opened so? */
static long may_open(const struct path *path, u32 flags, bool created)
{
	struct inode *inode = path->dentry->inode;
	u32 access = created ? 0 : access_of(flags);
	long error;

	if (S_ISLNK(inode->mode))
		return -ELOOP;
	if (S_ISDIR(inode->mode)) {
		if (access & MAY_WRITE)
			return -EISDIR;
		if (flags & OPEN_EXEC)
			return -EACCES;
	} else if (S_ISREG(inode->mode)) {
		if ((flags & OPEN_EXEC) && (path->mount->flags & MS_NOEXEC))
			return -EACCES;
	} else {
		if (flags & OPEN_EXEC)
			return -EACCES;
		if ((S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) && (path->mount->flags & MS_NODEV))
			return -EACCES;
	}
	error = inode_permission(inode, access);
	if (error)
		return error;
	if ((access & MAY_WRITE) && S_ISREG(inode->mode) && mount_writable(path->mount))
		return -EROFS;
	if ((flags & O_NOATIME) && !inode_owned(inode))
		return -EPERM;
	return 0;
}

ASYNC_DEFINE(file_open_path)
{
	struct inode *inode = f->path->dentry->inode;

	ASYNC_BEGIN;
	if (!(f->flags & O_PATH)) {
		f->error = may_open(f->path, f->flags, f->created);
		if (f->error)
			ASYNC_RETURN(f->error);
	}
	f->file = file_alloc(f->flags & ~(u32)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC | OPEN_EXEC));
	if (!f->file)
		ASYNC_RETURN(-ENFILE);
	f->file->path = *f->path;
	path_get(&f->file->path);
	f->file->inode = inode;
	if (f->flags & O_PATH) {
		f->file->mode = FILE_PATH;
		f->file->ops = &path_ops;
		f->file->flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
		ASYNC_RETURN((long)f->file);
	}
	f->file->ops = &no_ops; /* until it is open: nothing to release */
	if (f->flags & OPEN_EXEC) {
		f->error = inode_deny_write(inode);
		if (!f->error)
			f->file->mode |= FILE_EXECUTED;
	} else if ((f->file->mode & FILE_WRITE) && S_ISREG(inode->mode)) {
		f->error = file_count_writer(f->file);
	}
	if (!f->error) {
		f->file->ops = inode->file_ops;
		if (S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISBLK(inode->mode))
			f->file->mode |= FILE_SEEK;
		f->file->error_sequence = inode->cache.error_sequence;
		if (f->file->ops->open) {
			/* O_NOCTTY matters to it alone. */
			f->file->flags |= f->flags & (O_NOCTTY | O_EXCL);
			AWAIT_OP(f->file->ops->open, file_open, .file = f->file, .inode = inode);
			f->file->flags &= ~(u32)(O_NOCTTY | O_EXCL);
			f->error = RESULT;
			if (f->error < 0)
				f->file->ops = &no_ops;
		}
	}
	if (f->error >= 0 && (f->flags & O_TRUNC) && !f->created && S_ISREG(inode->mode)) {
		AWAIT(inode_truncate, .inode = inode, .size = 0, .opening = true);
		f->error = RESULT;
	}
	if (f->error < 0) {
		AWAIT(file_put, .file = f->file);
		ASYNC_RETURN(f->error);
	}
	NOTIFY_FILE(f->file, IN_OPEN);
	ASYNC_RETURN((long)f->file);
	ASYNC_END;
}

/* The cached name, counted, or NULL. */
static struct dentry *find_cached(struct dentry *parent, const struct name *name)
{
	struct dentry *dentry;

	spin_lock(&dcache_lock);
	dentry = dentry_find(parent, name);
	if (dentry && dentry->inode)
		dentry_get(dentry);
	else
		dentry = NULL;
	spin_unlock(&dcache_lock);
	return dentry;
}

/* The last name of an O_CREAT open: a counted dentry with an inode, made if there is none. */
ASYNC(open_last, struct lookup *lookup; u32 flags; mode_t mode; bool *created; struct dentry *dentry; long error;)
{
	struct lookup *l = f->lookup;
	struct dentry *parent = l->path.dentry;
	struct inode *dir = parent->inode;

	ASYNC_BEGIN;
	f->dentry = find_cached(parent, &l->last);
	if (f->dentry)
		ASYNC_RETURN((long)f->dentry);
	do {
		INODE_LOCK(dir);
		AWAIT(dentry_lookup, .parent = parent, .name = &l->last);
		if (IS_ERR(RESULT)) {
			f->error = RESULT;
			INODE_UNLOCK(dir);
		} else {
			f->error = 0;
		}
	} while (f->error == -EAGAIN);
	if (f->error)
		ASYNC_RETURN(f->error);
	f->dentry = (struct dentry *)RESULT;
	if (f->dentry->inode) {
		INODE_UNLOCK(dir);
		ASYNC_RETURN((long)f->dentry);
	}
	f->error = mount_writable(l->path.mount);
	if (!f->error)
		f->error = may_create(dir);
	if (!f->error && !dir->ops->create)
		f->error = -EACCES;
	if (!f->error) {
		f->mode = S_IFREG | (f->mode & 07777 & ~thread_of(self)->fs->umask);
		AWAIT_OP(dir->ops->create, inode_create, .dir = dir, .name = &l->last, .mode = f->mode);
		f->error = IS_ERR(RESULT) ? RESULT : 0;
		if (!f->error) {
			dentry_instantiate(f->dentry, (struct inode *)RESULT);
			*f->created = true;
			if (dir->watches)
				notify_inode(dir, IN_CREATE, &l->last, 0);
		}
	}
	INODE_UNLOCK(dir);
	if (f->error) {
		AWAIT(dentry_put, .dentry = f->dentry);
		ASYNC_RETURN(f->error);
	}
	ASYNC_RETURN((long)f->dentry);
	ASYNC_END;
}

/* The walk has ended at a child of where it stood: goes down to it. Takes over the dentry's reference. The old place, to be put. */
static struct path step_down(struct lookup *l, struct dentry *child)
{
	struct path old = l->path, next = {l->path.mount, child};

	spin_lock(&dcache_lock);
	path_follow_mounts(&next);
	mount_get(next.mount);
	if (next.dentry != child) {
		dentry_get(next.dentry);
		old.dentry = child; /* of the two old references one goes below, the other here */
		atomic_fetch_sub(&l->path.dentry->refcount, 1); /* the child holds one */
	}
	spin_unlock(&dcache_lock);
	l->path = next;
	return old;
}

/* Walks to the file of an O_CREAT open, and makes it. */
ASYNC(open_creating, struct lookup *lookup; u32 flags; mode_t mode; bool *created; struct dentry *dentry; struct path old;)
{
	struct lookup *l = f->lookup;

	ASYNC_BEGIN;
	for (;;) {
		AWAIT(lookup_walk, .lookup = l);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		if (l->last_type == LAST_ROOT && !S_ISDIR(l->path.dentry->inode->mode))
			ASYNC_RETURN(f->flags & O_EXCL ? -EEXIST : 0); /* a magic link led here */
		if (l->last_type != LAST_NORMAL || l->slash)
			ASYNC_RETURN(f->flags & O_EXCL && !l->slash ? -EEXIST : -EISDIR);
		AWAIT(open_last, .lookup = l, .flags = f->flags, .mode = f->mode, .created = f->created);
		if (IS_ERR(RESULT))
			ASYNC_RETURN(RESULT);
		f->dentry = (struct dentry *)RESULT;
		if ((f->flags & O_EXCL) && !*f->created) {
			AWAIT(dentry_put, .dentry = f->dentry);
			ASYNC_RETURN(-EEXIST);
		}
		if (!S_ISLNK(f->dentry->inode->mode) || (f->flags & O_NOFOLLOW))
			break;
		AWAIT(lookup_follow_last, .lookup = l, .link = f->dentry);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	f->old = step_down(l, f->dentry);
	AWAIT(path_put, .path = &f->old);
	if (S_ISDIR(l->path.dentry->inode->mode))
		ASYNC_RETURN(-EISDIR);
	ASYNC_END;
}

/* O_TMPFILE: a file in the directory l->path, but without a name. The path becomes its. */
ASYNC(open_unnamed, struct lookup *lookup; mode_t mode; u32 flags; struct inode *inode; struct dentry *dentry; long error;)
{
	struct lookup *l = f->lookup;
	struct inode *dir = l->path.dentry->inode;
	char text[24];
	struct name name;

	ASYNC_BEGIN;
	if (!(dir->sb->fs->flags & FS_TMPFILE))
		ASYNC_RETURN(-EOPNOTSUPP);
	f->error = mount_writable(l->path.mount);
	if (!f->error)
		f->error = may_create(dir);
	if (f->error)
		ASYNC_RETURN(f->error);
	INODE_LOCK(dir);
	f->mode = S_IFREG | (f->mode & 07777 & ~thread_of(self)->fs->umask);
	AWAIT_OP(dir->ops->create, inode_create, .dir = dir, .name = NULL, .mode = f->mode);
	INODE_UNLOCK(dir);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->inode = (struct inode *)RESULT;
	snprintf(text, sizeof(text), "#%llu", (unsigned long long)f->inode->number);
	name = name_of(text);
	f->dentry = dentry_alloc(dir->sb, &name);
	if (!f->dentry) {
		AWAIT(inode_put, .inode = f->inode);
		ASYNC_RETURN(-ENOMEM);
	}
	if (!(f->flags & O_EXCL))
		atomic_fetch_or(&f->inode->state, INODE_LINKABLE);
	f->dentry->inode = f->inode;
	f->dentry->flags |= DENTRY_UNHASHED;
	dentry_hang(f->dentry, l->path.dentry);
	/* The new dentry keeps its parent. */
	dentry_get(f->dentry);
	AWAIT(dentry_put, .dentry = l->path.dentry);
	l->path.dentry = f->dentry;
	AWAIT(dentry_put, .dentry = f->dentry);
	ASYNC_END;
}

ASYNC_DEFINE(file_open)
{
	struct lookup *l = &f->lookup;
	u32 walk;

	ASYNC_BEGIN;
	walk = f->resolve << LOOKUP_RESOLVE_SHIFT;
	if (!(f->flags & O_NOFOLLOW))
		walk |= LOOKUP_FOLLOW;
	if (f->flags & O_DIRECTORY)
		walk |= LOOKUP_DIRECTORY;
	if (f->flags & O_CREAT)
		walk |= LOOKUP_PARENT;
	f->result = lookup_begin(l, f->dirfd, f->name, walk);
	if (f->result)
		ASYNC_RETURN(f->result);
	if (f->flags & O_CREAT)
		AWAIT(open_creating, .lookup = l, .flags = f->flags, .mode = f->mode, .created = &f->created);
	else
		AWAIT(lookup_walk, .lookup = l);
	f->result = RESULT;
	if (!f->result && (f->flags & __O_TMPFILE)) {
		AWAIT(open_unnamed, .lookup = l, .mode = f->mode, .flags = f->flags);
		f->result = RESULT;
		f->created = true;
	}
	if (!f->result) {
		AWAIT(file_open_path, .path = &l->path, .flags = f->flags, .created = f->created);
		f->result = RESULT;
	}
	AWAIT(lookup_end, .lookup = l);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* --- system calls --- */
#define OPEN_FLAGS                                                                                 \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | \
		FASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |      \
		O_PATH | __O_TMPFILE)

/* 0 or -EINVAL: flags that were masked (open) or checked (openat2) already. */
static long check_flags(u32 *flags)
{
	if ((*flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
		return -EINVAL;
	if (*flags & __O_TMPFILE) {
		if (!(*flags & O_DIRECTORY) || !((*flags + 1) & FILE_WRITE) || (*flags & O_CREAT))
			return -EINVAL;
	}
	if (*flags & O_PATH)
		*flags &= O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
	if (*flags & O_EXCL && *flags & O_CREAT)
		*flags |= O_NOFOLLOW;
	return 0;
}

ASYNC(do_open, int dirfd; const char __user *name; u32 flags; mode_t mode; u32 resolve; char *kernel_name; struct file *file; long fd;)
{
	ASYNC_BEGIN;
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_name = (char *)RESULT;
	f->fd = -EMFILE;
	if (fd_available()) {
		AWAIT(file_open, .dirfd = f->dirfd, .name = f->kernel_name, .flags = f->flags, .mode = f->mode, .resolve = f->resolve);
		f->fd = RESULT;
		if (!IS_ERR(f->fd)) {
			f->file = (struct file *)f->fd;
			f->fd = fd_install(f->file, f->flags & O_CLOEXEC);
			if (f->fd < 0)
				AWAIT(file_put, .file = f->file);
		}
	}
	name_free(f->kernel_name);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}

SYSCALL_ASYNC(openat, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(u32, flags) SYS_ARG(mode_t, mode))
{
	long error;

	ASYNC_BEGIN;
	f->flags = (f->flags & OPEN_FLAGS) | O_LARGEFILE;
	error = check_flags(&f->flags);
	if (error)
		ASYNC_RETURN(error);
	AWAIT(do_open, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .mode = f->mode);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static long check_how(const struct open_how *how, u32 *flags)
{
	const u64 resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH |
		RESOLVE_IN_ROOT | RESOLVE_CACHED;

	if ((how->flags & ~(u64)(u32)OPEN_FLAGS) || (how->resolve & ~resolve) || (how->mode & ~07777ull))
		return -EINVAL;
	if ((how->resolve & RESOLVE_BENEATH) && (how->resolve & RESOLVE_IN_ROOT))
		return -EINVAL;
	if (how->mode && !(how->flags & (O_CREAT | __O_TMPFILE)))
		return -EINVAL;
	if ((how->flags & O_PATH) && (how->flags & ~(u64)(O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC)))
		return -EINVAL;
	if ((how->resolve & RESOLVE_CACHED) && (how->flags & (O_TRUNC | O_CREAT | __O_TMPFILE)))
		return -EAGAIN;
	*flags = (u32)how->flags;
	return check_flags(flags);
}

SYSCALL_ASYNC(openat2, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(const void __user *, how) SYS_ARG(size_t, bytes)
	struct open_how kernel_how; u64 tail[8]; size_t at; size_t n; u32 flags;)
{
	long error;

	ASYNC_BEGIN;
	if (f->bytes < sizeof(struct open_how))
		ASYNC_RETURN(-EINVAL);
	if (f->bytes > PAGE_SIZE)
		ASYNC_RETURN(-E2BIG);
	AWAIT(copy_in, .to = &f->kernel_how, .from = f->how, .n = sizeof(f->kernel_how));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	/* What a later version added must be zero. */
	for (f->at = sizeof(struct open_how); f->at < f->bytes; f->at += f->n) {
		f->n = min(sizeof(f->tail), f->bytes - f->at);
		memset(f->tail, 0, sizeof(f->tail));
		AWAIT(copy_in, .to = f->tail, .from = (const char __user *)f->how + f->at, .n = f->n);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		for (u32 i = 0; i < ARRAY_SIZE(f->tail); i++)
			if (f->tail[i])
				ASYNC_RETURN(-E2BIG);
	}
	error = check_how(&f->kernel_how, &f->flags);
	if (error)
		ASYNC_RETURN(error);
	AWAIT(do_open, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .mode = (mode_t)f->kernel_how.mode,
		.resolve = (u32)f->kernel_how.resolve);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
