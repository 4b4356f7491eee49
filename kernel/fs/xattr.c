// SPDX-License-Identifier: MIT
/*
 * Extended attributes: who may read and write which, and the system calls. The file systems keep them.
 *     user.      files and directories, by permission to read and write
 *     trusted.   CAP_SYS_ADMIN; others don't see them
 *     security.  readable by all, written with CAP_SYS_ADMIN
 */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/limits.h>
#include <linux/xattr.h>

enum { GET, SET, LIST, REMOVE };

static bool begins(const char *key, const char *prefix)
{
	return !strncmp(key, prefix, strlen(prefix));
}

static long may_touch(struct inode *inode, struct mount *mount, const char *key, bool write)
{
	long error = write ? mount_writable(mount) : 0;

	if (error)
		return error;
	if (begins(key, XATTR_SYSTEM_PREFIX))
		return -EOPNOTSUPP; /* no access control lists */
	if (begins(key, XATTR_SECURITY_PREFIX))
		return write && !capable(CAP_SYS_ADMIN) ? -EPERM : 0;
	if (begins(key, XATTR_TRUSTED_PREFIX))
		return capable(CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
	if (!begins(key, XATTR_USER_PREFIX))
		return -EOPNOTSUPP;
	if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
		return write ? -EPERM : -ENODATA;
	if (S_ISDIR(inode->mode) && (inode->mode & S_ISVTX) && write && !inode_owned(inode))
		return -EPERM;
	return inode_permission(inode, write ? MAY_WRITE : MAY_READ);
}

/* Does the file system's part with kernel buffers. */
ASYNC(xattr_do, struct inode *inode; u32 what; const char *key; void *buffer; size_t bytes; u32 flags; long n;)
{
	const struct inode_ops *ops = f->inode->ops;

	ASYNC_BEGIN;
	if (f->what == GET || f->what == LIST) {
		INODE_LOCK_READ(f->inode);
		if (f->what == GET && ops->getxattr)
			AWAIT_OP(ops->getxattr, inode_getxattr, .inode = f->inode, .key = f->key, .buf = f->buffer, .bytes = f->bytes);
		else if (f->what == LIST && ops->listxattr)
			AWAIT_OP(ops->listxattr, inode_listxattr, .inode = f->inode, .buf = f->buffer, .bytes = f->bytes);
		else
			RESULT = f->what == GET ? -EOPNOTSUPP : 0;
		f->n = RESULT;
		INODE_UNLOCK_READ(f->inode);
		ASYNC_RETURN(f->n);
	}
	if (!ops->setxattr)
		ASYNC_RETURN(-EOPNOTSUPP);
	INODE_LOCK(f->inode);
	AWAIT_OP(ops->setxattr, inode_setxattr, .inode = f->inode, .key = f->key, .value = f->what == SET ? f->buffer : NULL, .bytes = f->bytes, .flags = f->flags);
	f->n = RESULT;
	if (!f->n)
		inode_touch(f->inode, ATTR_CTIME);
	INODE_UNLOCK(f->inode);
	if (!f->n)
		NOTIFY(f->inode, IN_ATTRIB);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

ASYNC(xattr_of, struct inode *inode; struct mount *mount; u32 what; const char __user *key; void __user *value; size_t bytes; u32 flags; char *name; void *buffer; long n;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)(XATTR_CREATE | XATTR_REPLACE))
		ASYNC_RETURN(-EINVAL);
	if (f->what == SET && f->bytes > XATTR_SIZE_MAX)
		ASYNC_RETURN(-E2BIG);
	f->bytes = min(f->bytes, (size_t)XATTR_SIZE_MAX);
	f->name = kmalloc(XATTR_NAME_MAX + 1);
	if (!f->name)
		ASYNC_RETURN(-ENOMEM);
	if (f->what != LIST) {
		AWAIT(copy_string_in, .to = f->name, .from = f->key, .bytes = XATTR_NAME_MAX + 1);
		f->n = RESULT == -ENAMETOOLONG || !RESULT ? -ERANGE : min(RESULT, 0l);
		if (!f->n)
			f->n = may_touch(f->inode, f->mount, f->name, f->what != GET);
	}
	if (!f->n) {
		f->buffer = kmalloc(max(f->bytes, 1ul));
		f->n = f->buffer ? 0 : -ENOMEM;
	}
	if (!f->n && f->what == SET && f->bytes) {
		AWAIT(copy_in, .to = f->buffer, .from = f->value, .n = f->bytes);
		f->n = RESULT;
	}
	if (!f->n) {
		AWAIT(xattr_do, .inode = f->inode, .what = f->what, .key = f->name, .buffer = f->buffer, .bytes = f->bytes, .flags = f->flags);
		f->n = RESULT;
	}
	if (f->n > 0 && f->bytes && (f->what == GET || f->what == LIST)) {
		AWAIT(copy_out, .to = f->value, .from = f->buffer, .n = (size_t)f->n);
		if (RESULT < 0)
			f->n = RESULT;
	}
	kfree(f->buffer);
	kfree(f->name);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

ASYNC(xattr_path, const char __user *path; bool follow; u32 what; const char __user *key; void __user *value; size_t bytes; u32 flags; struct path at; long n;)
{
	ASYNC_BEGIN;
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->path, .flags = f->follow ? 0 : AT_SYMLINK_NOFOLLOW, .path = &f->at);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(xattr_of, .inode = f->at.dentry->inode, .mount = f->at.mount, .what = f->what, .key = f->key, .value = f->value, .bytes = f->bytes, .flags = f->flags);
	f->n = RESULT;
	AWAIT(path_put, .path = &f->at);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

ASYNC(xattr_file, int number; u32 what; const char __user *key; void __user *value; size_t bytes; u32 flags; struct fd_use fd; long n;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	AWAIT(xattr_of, .inode = f->fd.file->inode, .mount = f->fd.file->path.mount, .what = f->what, .key = f->key, .value = f->value, .bytes = f->bytes, .flags = f->flags);
	f->n = RESULT;
	FD_END(f->fd);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

#define KEY SYS_ARG(const char __user *, key)
#define VALUE SYS_ARG(void __user *, value) SYS_ARG(size_t, bytes)

#define BY_PATH(call, count, operation, links, args, ...)                                          \
	SYSCALL_ASYNC(call, count, SYS_ARG(const char __user *, path) args)                         \
	{                                                                                          \
		ASYNC_BEGIN;                                                                       \
		AWAIT(xattr_path, .path = f->path, .follow = links, .what = operation, __VA_ARGS__);      \
		ASYNC_RETURN(RESULT);                                                              \
		ASYNC_END;                                                                         \
	}
#define BY_FILE(call, count, operation, args, ...)                                                 \
	SYSCALL_ASYNC(call, count, SYS_ARG(int, fd) args)                                           \
	{                                                                                          \
		ASYNC_BEGIN;                                                                       \
		AWAIT(xattr_file, .number = f->fd, .what = operation, __VA_ARGS__);                       \
		ASYNC_RETURN(RESULT);                                                              \
		ASYNC_END;                                                                         \
	}

BY_PATH(getxattr, 4, GET, true, KEY VALUE, .key = f->key, .value = f->value, .bytes = f->bytes)
BY_PATH(lgetxattr, 4, GET, false, KEY VALUE, .key = f->key, .value = f->value, .bytes = f->bytes)
BY_FILE(fgetxattr, 4, GET, KEY VALUE, .key = f->key, .value = f->value, .bytes = f->bytes)
BY_PATH(setxattr, 5, SET, true, KEY VALUE SYS_ARG(u32, flags), .key = f->key, .value = f->value, .bytes = f->bytes, .flags = f->flags)
BY_PATH(lsetxattr, 5, SET, false, KEY VALUE SYS_ARG(u32, flags), .key = f->key, .value = f->value, .bytes = f->bytes, .flags = f->flags)
BY_FILE(fsetxattr, 5, SET, KEY VALUE SYS_ARG(u32, flags), .key = f->key, .value = f->value, .bytes = f->bytes, .flags = f->flags)
BY_PATH(listxattr, 3, LIST, true, VALUE, .value = f->value, .bytes = f->bytes)
BY_PATH(llistxattr, 3, LIST, false, VALUE, .value = f->value, .bytes = f->bytes)
BY_FILE(flistxattr, 3, LIST, VALUE, .value = f->value, .bytes = f->bytes)
BY_PATH(removexattr, 2, REMOVE, true, KEY, .key = f->key)
BY_PATH(lremovexattr, 2, REMOVE, false, KEY, .key = f->key)
BY_FILE(fremovexattr, 2, REMOVE, KEY, .key = f->key)
