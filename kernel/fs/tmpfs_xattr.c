// SPDX-License-Identifier: MIT
/* Extended attributes that are only in memory: a list at the inode, which the VFS has locked. */
#include "tmpfs.h"
#include <linux/xattr.h>

struct tmpfs_xattr {
	struct list node;
	char *value;
	size_t bytes;
	char key[];
};

static struct tmpfs_xattr *find(struct list *list, const char *key)
{
	struct tmpfs_xattr *x;

	if (list->next)
		list_for_each(x, list, node)
			if (!strcmp(x->key, key))
				return x;
	return NULL;
}

static void drop(struct tmpfs_xattr *x)
{
	list_remove(&x->node);
	kfree(x->value);
	kfree(x);
}

void tmpfs_xattrs_free(struct list *list)
{
	while (list->next && !list_empty(list))
		drop(list_first(list, struct tmpfs_xattr, node));
}

ASYNC_DECLARE(tmpfs_getxattr, INODE_GETXATTR_ARGS);
ASYNC_DEFINE(tmpfs_getxattr)
{
	struct tmpfs_xattr *x;

	ASYNC_BEGIN;
	x = find(tmpfs_xattrs(f->inode), f->key);
	if (!x)
		ASYNC_RETURN(-ENODATA);
	if (f->bytes && f->bytes < x->bytes)
		ASYNC_RETURN(-ERANGE);
	if (f->bytes)
		memcpy(f->buf, x->value, x->bytes);
	ASYNC_RETURN(x->bytes);
	ASYNC_END;
}

ASYNC_DECLARE(tmpfs_setxattr, INODE_SETXATTR_ARGS);
ASYNC_DEFINE(tmpfs_setxattr)
{
	struct list *list = tmpfs_xattrs(f->inode);
	struct tmpfs_xattr *old = find(list, f->key), *x;
	size_t length = strlen(f->key);

	ASYNC_BEGIN;
	if (old && (f->flags & XATTR_CREATE))
		ASYNC_RETURN(-EEXIST);
	if (!old && ((f->flags & XATTR_REPLACE) || !f->value))
		ASYNC_RETURN(-ENODATA);
	if (f->value) {
		x = kmalloc(sizeof(*x) + length + 1);
		if (!x)
			ASYNC_RETURN(-ENOMEM);
		x->value = kmalloc(max(f->bytes, 1ul));
		if (!x->value) {
			kfree(x);
			ASYNC_RETURN(-ENOMEM);
		}
		memcpy(x->value, f->value, f->bytes);
		x->bytes = f->bytes;
		memcpy(x->key, f->key, length + 1);
		if (!list->next)
			list_init(list);
		list_add_tail(list, &x->node);
	}
	if (old)
		drop(old);
	ASYNC_RETURN(0);
	ASYNC_END;
}

ASYNC_DECLARE(tmpfs_listxattr, INODE_LISTXATTR_ARGS);
ASYNC_DEFINE(tmpfs_listxattr)
{
	struct list *list = tmpfs_xattrs(f->inode);
	bool all = capable(CAP_SYS_ADMIN);
	struct tmpfs_xattr *x;
	size_t n = 0, length;

	ASYNC_BEGIN;
	if (!list->next)
		ASYNC_RETURN(0);
	list_for_each(x, list, node) {
		if (!all && !strncmp(x->key, XATTR_TRUSTED_PREFIX, XATTR_TRUSTED_PREFIX_LEN))
			continue;
		length = strlen(x->key) + 1;
		if (f->bytes && n + length > f->bytes)
			ASYNC_RETURN(-ERANGE);
		if (f->bytes)
			memcpy(f->buf + n, x->key, length);
		n += length;
	}
	ASYNC_RETURN(n);
	ASYNC_END;
}
