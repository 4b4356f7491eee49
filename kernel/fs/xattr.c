// SPDX-License-Identifier: MIT
/*
 * Extended attributes. File systems may give some out (inode_ops.getxattr); none are listed, set or removed, and the errors
 * are those of a file system without them.
 */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/limits.h>
#include <linux/xattr.h>

enum { GET, SET, LIST, REMOVE };

ASYNC(xattr_of, struct inode *inode; struct mount *mount; u32 what; const char __user *key; void __user *value; size_t bytes; char *name; void *buffer; long n;)
{
	ASYNC_BEGIN;
	if (f->what == LIST)
		ASYNC_RETURN(0);
	f->name = kmalloc(XATTR_NAME_MAX + 1);
	if (!f->name)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(copy_string_in, .to = f->name, .from = f->key, .bytes = XATTR_NAME_MAX + 1);
	f->n = RESULT;
	if (f->n == -ENAMETOOLONG || f->n == 0)
		f->n = -ERANGE;
	if (f->n > 0) {
		f->n = f->what == GET ? 0 : mount_writable(f->mount);
		if (!f->n && (f->what != GET || !f->inode->ops->getxattr))
			f->n = -EOPNOTSUPP;
	}
	if (!f->n) {
		f->bytes = min(f->bytes, (size_t)XATTR_SIZE_MAX);
		f->buffer = f->bytes ? kmalloc(f->bytes) : NULL;
		if (f->bytes && !f->buffer) {
			f->n = -ENOMEM;
		} else {
			AWAIT_OP(f->inode->ops->getxattr, inode_getxattr, .inode = f->inode, .key = f->name, .buf = f->buffer, .bytes = f->bytes);
			f->n = RESULT;
		}
		if (f->n > 0 && f->buffer) {
			AWAIT(copy_out, .to = f->value, .from = f->buffer, .n = (size_t)f->n);
			if (RESULT < 0)
				f->n = RESULT;
		}
		kfree(f->buffer);
	}
	kfree(f->name);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

ASYNC(xattr_path, const char __user *path; bool follow; u32 what; const char __user *key; void __user *value; size_t bytes; struct path at; long n;)
{
	ASYNC_BEGIN;
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->path, .flags = f->follow ? 0 : AT_SYMLINK_NOFOLLOW, .path = &f->at);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(xattr_of, .inode = f->at.dentry->inode, .mount = f->at.mount, .what = f->what, .key = f->key, .value = f->value, .bytes = f->bytes);
	f->n = RESULT;
	AWAIT(path_put, .path = &f->at);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

ASYNC(xattr_file, int number; u32 what; const char __user *key; void __user *value; size_t bytes; struct fd_use fd; long n;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	AWAIT(xattr_of, .inode = f->fd.file->inode, .mount = f->fd.file->path.mount, .what = f->what, .key = f->key, .value = f->value, .bytes = f->bytes);
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
BY_PATH(setxattr, 5, SET, true, KEY VALUE SYS_ARG(u32, flags), .key = f->key)
BY_PATH(lsetxattr, 5, SET, false, KEY VALUE SYS_ARG(u32, flags), .key = f->key)
BY_FILE(fsetxattr, 5, SET, KEY VALUE SYS_ARG(u32, flags), .key = f->key)
BY_PATH(listxattr, 3, LIST, true, VALUE, .key = NULL)
BY_PATH(llistxattr, 3, LIST, false, VALUE, .key = NULL)
BY_FILE(flistxattr, 3, LIST, VALUE, .key = NULL)
BY_PATH(removexattr, 2, REMOVE, true, KEY, .key = f->key)
BY_PATH(lremovexattr, 2, REMOVE, false, KEY, .key = f->key)
BY_FILE(fremovexattr, 2, REMOVE, KEY, .key = f->key)
