// SPDX-License-Identifier: MIT
/* What an inode looks like from outside: stat(2) in its forms, statx(2), readlink(2), access(2), statfs(2). */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/limits.h>
#include <asm/stat.h>
#include <asm/statfs.h>

static void refresh(struct inode *inode)
{
	if (inode->ops->refresh)
		inode->ops->refresh(inode);
}

/* Return the bytes not copied. */
static size_t put_stat(struct stat __user *to, struct inode *inode)
{
	struct stat st = {
		.st_dev = dev_encode(inode->sb->dev),
		.st_ino = inode->number,
		.st_mode = inode->mode,
		.st_nlink = inode->nlink,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_rdev = dev_encode(inode->rdev),
		.st_size = (long)inode->size,
		.st_blksize = (int)inode->sb->block_size,
		.st_blocks = (long)inode->blocks,
		.st_atime = inode->atime.sec,
		.st_atime_nsec = inode->atime.nsec,
		.st_mtime = inode->mtime.sec,
		.st_mtime_nsec = inode->mtime.nsec,
		.st_ctime = inode->ctime.sec,
		.st_ctime_nsec = inode->ctime.nsec,
	};

	return copy_to_user(to, &st, sizeof(st));
}

/* The inode as it is now: 0 or -EFAULT. */
ASYNC(stat_out, struct inode *inode; struct stat __user *to;)
{
	ASYNC_BEGIN;
	refresh(f->inode);
	while (put_stat(f->to, f->inode)) {
		AWAIT(fault_in, .address = f->to, .n = sizeof(struct stat), .write = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

SYSCALL_ASYNC(fstat, 2, SYS_ARG(int, number) SYS_ARG(struct stat __user *, to) struct fd_use fd; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin_any(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	AWAIT(stat_out, .inode = f->fd.file->inode, .to = f->to);
	f->error = RESULT;
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/*
 * The path of the *at calls that take AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW: 0 and a counted path. An empty name is the
 * descriptor itself.
 */
ASYNC_DEFINE(path_at)
{
	ASYNC_BEGIN;
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_name = (char *)RESULT;
	AWAIT(path_lookup, .dirfd = f->dirfd, .name = f->kernel_name, .path = f->path,
		.flags = (f->flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (f->flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0));
	name_free(f->kernel_name);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* The name is empty (or NULL), and that is allowed: the call is about the descriptor. */
static bool is_about_descriptor(const char __user *name, u32 flags)
{
	char first;

	return (flags & AT_EMPTY_PATH) && (!name || (!copy_from_user(&first, name, 1) && !first));
}

/* glibc's fstat(3) comes here, too. */
SYSCALL_ASYNC(newfstatat, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(struct stat __user *, to) SYS_ARG(u32, flags)
	struct path path; long error; struct fd_use fd;)
{
	ASYNC_BEGIN;
	if (f->flags == AT_EMPTY_PATH && f->dirfd >= 0 && is_about_descriptor(f->name, f->flags)) {
		f->fd = fd_begin_any(self, f->dirfd);
		if (!f->fd.file)
			ASYNC_RETURN(-EBADF);
		AWAIT(stat_out, .inode = f->fd.file->inode, .to = f->to);
		f->error = RESULT;
		FD_END(f->fd);
		ASYNC_RETURN(f->error);
	}
	if (f->flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(stat_out, .inode = f->path.dentry->inode, .to = f->to);
	f->error = RESULT;
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static struct statx_timestamp statx_time(struct timespec64_ t)
{
	return (struct statx_timestamp){.tv_sec = t.sec, .tv_nsec = t.nsec};
}

static size_t put_statx(struct statx __user *to, const struct path *path, u32 mask)
{
	struct inode *inode = path->dentry->inode;
	struct statx st = {
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME | (mask & STATX_MNT_ID),
		.stx_blksize = inode->sb->block_size,
		.stx_attributes_mask = STATX_ATTR_MOUNT_ROOT,
		.stx_nlink = inode->nlink,
		.stx_uid = inode->uid,
		.stx_gid = inode->gid,
		.stx_mode = (u16)inode->mode,
		.stx_ino = inode->number,
		.stx_size = inode->size,
		.stx_blocks = inode->blocks,
		.stx_atime = statx_time(inode->atime),
		.stx_btime = statx_time(inode->btime),
		.stx_ctime = statx_time(inode->ctime),
		.stx_mtime = statx_time(inode->mtime),
		.stx_rdev_major = DEV_MAJOR(inode->rdev),
		.stx_rdev_minor = DEV_MINOR(inode->rdev),
		.stx_dev_major = DEV_MAJOR(inode->sb->dev),
		.stx_dev_minor = DEV_MINOR(inode->sb->dev),
		.stx_mnt_id = path->mount->id,
	};

	if (path->dentry == path->mount->root)
		st.stx_attributes |= STATX_ATTR_MOUNT_ROOT;
	return copy_to_user(to, &st, sizeof(st));
}

SYSCALL_ASYNC(statx, 5, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(u32, flags) SYS_ARG(u32, mask) SYS_ARG(struct statx __user *, to)
	struct path path; long error;)
{
	ASYNC_BEGIN;
	if ((f->mask & STATX__RESERVED) || (f->flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE ||
		(f->flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)))
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	refresh(f->path.dentry->inode);
	while (put_statx(f->to, &f->path, f->mask)) {
		AWAIT(fault_in, .address = f->to, .n = sizeof(struct statx), .write = true);
		f->error = RESULT;
		if (f->error)
			break;
	}
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* The text of a link into a buffer of PATH_MAX: its length or -errno. */
ASYNC(link_text, struct path *path; char *buffer; struct path target; long n;)
{
	struct inode *inode = f->path->dentry->inode;
	char *name;

	ASYNC_BEGIN;
	if (inode->target) {
		f->n = (long)strlen(inode->target);
		memcpy(f->buffer, inode->target, (size_t)f->n);
		ASYNC_RETURN(f->n);
	}
	if (inode->ops->readlink) {
		AWAIT_OP(inode->ops->readlink, inode_readlink, .inode = inode, .buf = f->buffer, .bytes = PATH_MAX);
		ASYNC_RETURN(RESULT);
	}
	if (!inode->ops->follow)
		ASYNC_RETURN(-EINVAL);
	f->n = inode->ops->follow(inode, &f->target);
	if (f->n)
		ASYNC_RETURN(f->n);
	name = path_name(&f->target, f->buffer, PATH_MAX);
	f->n = IS_ERR(name) ? PTR_ERR(name) : (long)strlen(name);
	if (f->n > 0)
		memmove(f->buffer, name, (size_t)f->n);
	AWAIT(path_put, .path = &f->target);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

SYSCALL_ASYNC(readlinkat, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(char __user *, buf) SYS_ARG(int, bytes)
	char *kernel_name; struct path path; long n; bool empty;)
{
	ASYNC_BEGIN;
	if (f->bytes <= 0)
		ASYNC_RETURN(-EINVAL);
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_name = (char *)RESULT;
	f->empty = !*f->kernel_name;
	AWAIT(path_lookup, .dirfd = f->dirfd, .name = f->kernel_name, .flags = LOOKUP_EMPTY, .path = &f->path);
	f->n = RESULT;
	if (f->n)
		goto out;
	/* An empty name is an O_PATH descriptor of a link; of anything else there is nothing. */
	if (!S_ISLNK(f->path.dentry->inode->mode)) {
		f->n = f->empty ? -ENOENT : -EINVAL;
	} else {
		AWAIT(link_text, .path = &f->path, .buffer = f->kernel_name);
		f->n = min(RESULT, (long)f->bytes);
	}
	if (f->n > 0) {
		AWAIT(copy_out, .to = f->buf, .from = f->kernel_name, .n = (size_t)f->n);
		if (RESULT < 0)
			f->n = RESULT;
	}
	AWAIT(path_put, .path = &f->path);
out:
	name_free(f->kernel_name);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

/* --- access --- */
/* Permission by the real ids, whose capabilities are all (root) or none, unless the program sees to that itself. */
static long access_by(struct inode *inode, u32 mask, u32 flags)
{
	const struct cred *mine = current_thread()->cred;
	struct cred real = *mine;

	if ((mask & MAY_WRITE) && (inode->sb->flags & MS_RDONLY) &&
		(S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISLNK(inode->mode)))
		return -EROFS;
	if (flags & AT_EACCESS)
		return inode_permission_cred(inode, mask, mine);
	real.fsuid = real.uid;
	real.fsgid = real.gid;
	if (!(real.securebits & 4)) /* SECBIT_NO_SETUID_FIXUP */
		real.cap_effective = real.uid ? 0 : real.cap_permitted;
	return inode_permission_cred(inode, mask, &real);
}

ASYNC(do_access, int dirfd; const char __user *name; u32 mode; u32 flags; struct path path; long error;)
{
	struct inode *inode;

	ASYNC_BEGIN;
	if ((f->mode & ~7u) || (f->flags & ~(u32)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_at, .dirfd = f->dirfd, .name = f->name, .flags = f->flags, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	inode = f->path.dentry->inode;
	refresh(inode);
	if ((f->mode & MAY_EXEC) && S_ISREG(inode->mode) && (f->path.mount->flags & MS_NOEXEC))
		f->error = -EACCES;
	else
		f->error = f->mode ? access_by(inode, f->mode, f->flags) : 0;
	if (!f->error && (f->mode & MAY_WRITE) && !S_ISCHR(inode->mode) && !S_ISBLK(inode->mode) && !S_ISFIFO(inode->mode) && !S_ISSOCK(inode->mode))
		f->error = mount_writable(f->path.mount);
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(faccessat, 3, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(u32, mode))
{
	ASYNC_BEGIN;
	AWAIT(do_access, .dirfd = f->dirfd, .name = f->name, .mode = f->mode);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(faccessat2, 4, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(u32, mode) SYS_ARG(u32, flags))
{
	ASYNC_BEGIN;
	AWAIT(do_access, .dirfd = f->dirfd, .name = f->name, .mode = f->mode, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- statfs --- */
/* ST_* of statvfs(3): the mount's flags, as f_flags has them. */
static long statfs_flags(const struct mount *mount)
{
	u32 flags = mount->flags | (mount->sb->flags & (MS_RDONLY | MS_SYNCHRONOUS));
	long st = 0x20; /* valid */

	st |= flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS);
	if (flags & MS_NOATIME)
		st |= 0x400;
	if (flags & MS_NODIRATIME)
		st |= 0x800;
	if (!(flags & (MS_NOATIME | MS_STRICTATIME)))
		st |= 0x1000;
	return st;
}

static size_t put_statfs(struct statfs __user *to, const struct mount *mount)
{
	struct superblock *sb = mount->sb;
	struct kstatfs_ k = {.bsize = sb->block_size, .namelen = 255};
	struct statfs st;

	if (sb->fs->statfs)
		sb->fs->statfs(sb, &k);
	st = (struct statfs){
		.f_type = (long)k.type,
		.f_bsize = k.bsize,
		.f_blocks = (long)k.blocks,
		.f_bfree = (long)k.bfree,
		.f_bavail = (long)k.bavail,
		.f_files = (long)k.files,
		.f_ffree = (long)k.ffree,
		.f_fsid = {.val = {(int)k.fsid, (int)(k.fsid >> 32)}},
		.f_namelen = k.namelen,
		.f_frsize = k.bsize,
		.f_flags = statfs_flags(mount),
	};
	return copy_to_user(to, &st, sizeof(st));
}

SYSCALL_ASYNC(statfs, 2, SYS_ARG(const char __user *, name) SYS_ARG(struct statfs __user *, to) struct path path; long error;)
{
	ASYNC_BEGIN;
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->name, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	while (put_statfs(f->to, f->path.mount)) {
		AWAIT(fault_in, .address = f->to, .n = sizeof(struct statfs), .write = true);
		f->error = RESULT;
		if (f->error)
			break;
	}
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(fstatfs, 2, SYS_ARG(int, number) SYS_ARG(struct statfs __user *, to) struct fd_use fd; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin_any(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	while (put_statfs(f->to, f->fd.file->path.mount)) {
		AWAIT(fault_in, .address = f->to, .n = sizeof(struct statfs), .write = true);
		f->error = RESULT;
		if (f->error)
			break;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
