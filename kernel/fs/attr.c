// SPDX-License-Identifier: MIT
/* Changing attributes: chmod, chown, utimens, truncate, fallocate. */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/falloc.h>
#include <linux/time_types.h>

/*
 * Changes attributes of what a path or file is of: checks that something may be changed there at all, locks, lets `check` (under
 * the lock) decide and complete what changes, and does it.
 */
ASYNC(change, const struct path *path; struct attributes *a; long (*check)(struct inode *inode, struct attributes *a); long error;)
{
	struct inode *inode = f->path->dentry->inode;

	ASYNC_BEGIN;
	f->error = mount_writable(f->path->mount);
	if (f->error)
		ASYNC_RETURN(f->error);
	INODE_LOCK(inode);
	f->error = f->check(inode, f->a);
	if (!f->error) {
		f->a->valid |= ATTR_CTIME;
		f->a->ctime = time_now();
		AWAIT(inode_setattr, .inode = inode, .attributes = f->a);
		f->error = RESULT;
	}
	INODE_UNLOCK(inode);
	if (!f->error && unlikely(notify_in_use))
		notify_path(f->path->dentry, IN_ATTRIB);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC(change_at, int dirfd; const char __user *name; u32 flags; struct attributes *a; long (*check)(struct inode *inode, struct attributes *a);
	struct path path; long error;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(change, .path = &f->path, .a = f->a, .check = f->check);
	f->error = RESULT;
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC(change_file, int number; struct attributes *a; long (*check)(struct inode *inode, struct attributes *a); struct fd_use fd; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	AWAIT(change, .path = &f->fd.file->path, .a = f->a, .check = f->check);
	f->error = RESULT;
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- chmod --- */
static long check_chmod(struct inode *inode, struct attributes *a)
{
	if (S_ISLNK(inode->mode))
		return -EOPNOTSUPP;
	if (!inode_owned(inode))
		return -EPERM;
	if (!cred_in_group(current_thread()->cred, inode->gid) && !capable(CAP_FSETID))
		a->mode &= ~S_ISGID;
	return 0;
}

SYSCALL_ASYNC(fchmod, 2, SYS_ARG(int, fd) SYS_ARG(mode_t, mode) struct attributes a;)
{
	ASYNC_BEGIN;
	f->a = (struct attributes){.valid = ATTR_MODE, .mode = f->mode & 07777};
	AWAIT(change_file, .number = f->fd, .a = &f->a, .check = check_chmod);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(fchmodat, 3, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(mode_t, mode) struct attributes a;)
{
	ASYNC_BEGIN;
	f->a = (struct attributes){.valid = ATTR_MODE, .mode = f->mode & 07777};
	AWAIT(change_at, .dirfd = f->dirfd, .name = f->name, .a = &f->a, .check = check_chmod);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452 /* newer than the headers of Debian 12 */
#endif
SYSCALL_ASYNC(fchmodat2, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(mode_t, mode) SYS_ARG(u32, flags) struct attributes a;)
{
	ASYNC_BEGIN;
	f->a = (struct attributes){.valid = ATTR_MODE, .mode = f->mode & 07777};
	AWAIT(change_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .a = &f->a, .check = check_chmod);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- chown: -1 leaves an id as it is --- */
static long check_chown(struct inode *inode, struct attributes *a)
{
	const struct cred *cred = current_thread()->cred;

	if ((a->valid & ATTR_UID) && !capable(CAP_CHOWN) && (cred->fsuid != inode->uid || a->uid != inode->uid))
		return -EPERM;
	if ((a->valid & ATTR_GID) && !capable(CAP_CHOWN) &&
		(cred->fsuid != inode->uid || (a->gid != inode->gid && !cred_in_group(cred, a->gid))))
		return -EPERM;
	if (!S_ISDIR(inode->mode) && mode_without_suid(inode) != inode->mode) {
		a->valid |= ATTR_MODE;
		a->mode = mode_without_suid(inode);
	}
	return 0;
}

static struct attributes owner(uid_t uid, gid_t gid)
{
	return (struct attributes){.valid = (uid == ~0u ? 0 : ATTR_UID) | (gid == ~0u ? 0 : ATTR_GID), .uid = uid, .gid = gid};
}

SYSCALL_ASYNC(fchown, 3, SYS_ARG(int, fd) SYS_ARG(uid_t, uid) SYS_ARG(gid_t, gid) struct attributes a;)
{
	ASYNC_BEGIN;
	f->a = owner(f->uid, f->gid);
	AWAIT(change_file, .number = f->fd, .a = &f->a, .check = check_chown);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(fchownat, 5, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(uid_t, uid) SYS_ARG(gid_t, gid) SYS_ARG(u32, flags) struct attributes a;)
{
	ASYNC_BEGIN;
	f->a = owner(f->uid, f->gid);
	AWAIT(change_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .a = &f->a, .check = check_chown);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- times --- */
#define UTIME_NOW_  0x3fffffff /* of tv_nsec: utimensat(2) */
#define UTIME_OMIT_ 0x3ffffffe

/* Both now: who may write may do it. Anything else is the owner's. */
static long check_now(struct inode *inode, struct attributes *a)
{
	return inode_owned(inode) ? 0 : inode_permission(inode, MAY_WRITE);
}

static long check_times(struct inode *inode, struct attributes *a)
{
	return inode_owned(inode) ? 0 : -EPERM;
}

/* One of the two: 0 or -EINVAL. */
static long set_time(struct attributes *a, u32 which, const struct __kernel_timespec *time)
{
	struct timespec64_ value = {time->tv_sec, (u32)time->tv_nsec};

	if (time->tv_nsec == UTIME_OMIT_)
		return 0;
	if (time->tv_nsec == UTIME_NOW_)
		value = time_now();
	else if (time->tv_nsec < 0 || time->tv_nsec >= 1000000000)
		return -EINVAL;
	a->valid |= which;
	if (which == ATTR_ATIME)
		a->atime = value;
	else
		a->mtime = value;
	return 0;
}

SYSCALL_ASYNC(utimensat, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(const struct __kernel_timespec __user *, times) SYS_ARG(u32, flags)
	struct __kernel_timespec kernel_times[2]; struct attributes a; bool now;)
{
	long error;

	ASYNC_BEGIN;
	f->now = true;
	if (f->times) {
		AWAIT(copy_in, .to = f->kernel_times, .from = f->times, .n = sizeof(f->kernel_times));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		if (f->kernel_times[0].tv_nsec == UTIME_OMIT_ && f->kernel_times[1].tv_nsec == UTIME_OMIT_)
			ASYNC_RETURN(0);
		f->now = f->kernel_times[0].tv_nsec == UTIME_NOW_ && f->kernel_times[1].tv_nsec == UTIME_NOW_;
	} else {
		f->kernel_times[0].tv_nsec = f->kernel_times[1].tv_nsec = UTIME_NOW_;
	}
	error = set_time(&f->a, ATTR_ATIME, &f->kernel_times[0]);
	if (!error)
		error = set_time(&f->a, ATTR_MTIME, &f->kernel_times[1]);
	if (error)
		ASYNC_RETURN(error);
	/* Without a name it is futimens(3). */
	if (!f->name && f->dirfd != AT_FDCWD) {
		if (f->flags)
			ASYNC_RETURN(-EINVAL);
		AWAIT(change_file, .number = f->dirfd, .a = &f->a, .check = f->now ? check_now : check_times);
	} else {
		AWAIT(change_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .a = &f->a, .check = f->now ? check_now : check_times);
	}
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- sizes --- */
static long check_size(struct inode *inode, u64 size)
{
	u64 limit = limit_get(RLIMIT_FSIZE);

	if (inode->sb->max_bytes && size > inode->sb->max_bytes)
		return -EFBIG;
	if (size > limit && size > inode->size) {
		signal_send_thread(current_thread(), SIGXFSZ, NULL);
		return -EFBIG;
	}
	return 0;
}

static long check_truncate(const struct path *path)
{
	struct inode *inode = path->dentry->inode;
	long error;

	if (S_ISDIR(inode->mode))
		return -EISDIR;
	if (!S_ISREG(inode->mode))
		return -EINVAL;
	error = mount_writable(path->mount);
	if (!error)
		error = inode_permission(inode, MAY_WRITE);
	if (!error && atomic_load(&inode->writers) < 0)
		error = -ETXTBSY;
	return error;
}

SYSCALL_ASYNC(truncate, 2, SYS_ARG(const char __user *, name) SYS_ARG(s64, size) struct path path; long error;)
{
	ASYNC_BEGIN;
	if (f->size < 0)
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->name, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->error = check_truncate(&f->path);
	if (!f->error)
		f->error = check_size(f->path.dentry->inode, (u64)f->size);
	if (!f->error) {
		AWAIT(inode_truncate, .inode = f->path.dentry->inode, .size = (u64)f->size);
		f->error = RESULT;
	}
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(ftruncate, 2, SYS_ARG(int, number) SYS_ARG(s64, size) struct fd_use fd; long error;)
{
	struct file *file;

	ASYNC_BEGIN;
	if (f->size < 0)
		ASYNC_RETURN(-EINVAL);
	f->fd = fd_begin(self, f->number);
	file = f->fd.file;
	if (!file)
		ASYNC_RETURN(-EBADF);
	if (!S_ISREG(file->inode->mode) || !(file->mode & FILE_WRITE))
		f->error = -EINVAL;
	else
		f->error = check_size(file->inode, (u64)f->size);
	if (!f->error)
		f->error = memfd_check_size(file->inode, (u64)f->size);
	if (!f->error) {
		AWAIT(inode_truncate, .inode = f->fd.file->inode, .size = (u64)f->size);
		f->error = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static long check_fallocate(const struct file *file, u32 mode, s64 pos, s64 n)
{
	const u32 known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
		FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;

	if (pos < 0 || n <= 0)
		return -EINVAL;
	if ((mode & ~known) || ((mode & FALLOC_FL_PUNCH_HOLE) && !(mode & FALLOC_FL_KEEP_SIZE)))
		return -EOPNOTSUPP;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (!(file->mode & FILE_WRITE))
		return -EBADF;
	if (S_ISFIFO(file->inode->mode))
		return -ESPIPE;
	if (S_ISDIR(file->inode->mode))
		return -EISDIR;
	if (!S_ISREG(file->inode->mode) && !S_ISBLK(file->inode->mode))
		return -ENODEV;
	if (pos + (u64)n > INT64_MAX || (file->inode->sb->max_bytes && pos + (u64)n > file->inode->sb->max_bytes))
		return -EFBIG;
	if (!file->ops->fallocate)
		return -EOPNOTSUPP;
	if (!(mode & FALLOC_FL_KEEP_SIZE)) {
		long error = check_size(file->inode, (u64)pos + (u64)n);

		if (!error)
			error = memfd_check_size(file->inode, max((u64)pos + (u64)n, file->inode->size));
		return error;
	}
	return 0;
}

SYSCALL_ASYNC(fallocate, 4, SYS_ARG(int, number) SYS_ARG(u32, mode) SYS_ARG(s64, pos) SYS_ARG(s64, n) struct fd_use fd; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->error = check_fallocate(f->fd.file, f->mode, f->pos, f->n);
	if (!f->error) {
		AWAIT_OP(f->fd.file->ops->fallocate, file_fallocate, .file = f->fd.file, .mode = f->mode, .pos = (u64)f->pos, .n = (u64)f->n);
		f->error = RESULT;
	}
	if (!f->error)
		NOTIFY_FILE(f->fd.file, IN_MODIFY);
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
